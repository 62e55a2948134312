//! Writes: what is refused, what reaches the driver, and how it is answered.

use hearthgate_protocol::model::{Reading, Value};
use hearthgate_protocol::wire::{DeviceWrite, ErrorBody, ErrorCode};

use super::{home, reported};
use crate::driver::CommandFault;
use crate::testing::{TestGateway, online, write};

fn refusal(gateway: &TestGateway, writes: &[DeviceWrite]) -> ErrorBody {
    match gateway.registry.write(writes) {
        Err(error) => error,
        Ok(_) => panic!("the write was taken"),
    }
}

#[tokio::test]
async fn everything_wrong_is_listed_the_first_is_the_message_and_nothing_is_sent() {
    let mut gateway = home();
    reported(&gateway, vec![online("b", false)]).await;
    let writes = [
        write("a", "temp", 1),
        write("b", "temp", 1),
        write("x", "temp", 1),
        write("a", "nothing", 1),
        write("a", "note", "n"),
        write("a", "temp", 1001),
        write("a", "switch_1", 1),
    ];
    let error = refusal(&gateway, &writes);
    assert_eq!(error.code, ErrorCode::DeviceOffline);
    let messages: Vec<&str> = error.details.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "device b is offline",
            "no device x",
            "device a: no function nothing",
            "device a: note only reports, it takes no writes",
            "device a: temp: 1001 is above max 1000",
            "device a: switch_1: 1 is an integer, expected a boolean",
        ]
    );
    assert_eq!(error.message, messages[0]);
    let codes: Vec<ErrorCode> = error.details.iter().map(|d| d.code).collect();
    assert_eq!(
        codes,
        [
            ErrorCode::DeviceOffline,
            ErrorCode::UnknownDevice,
            ErrorCode::UnsupportedCode,
            ErrorCode::UnsupportedCode,
            ErrorCode::InvalidValue,
            ErrorCode::InvalidValue,
        ]
    );
    assert!(gateway.port.commands.try_recv().is_err());
}

#[tokio::test]
async fn an_empty_array_and_a_device_without_values_succeed() {
    let mut gateway = home();
    assert_eq!(gateway.registry.write(&[]).unwrap().await, Ok(()));
    let nothing = DeviceWrite {
        device: "a".into(),
        readings: Vec::new(),
    };
    assert_eq!(gateway.registry.write(&[nothing]).unwrap().await, Ok(()));
    assert!(gateway.port.commands.try_recv().is_err());
}

#[tokio::test]
async fn the_last_of_two_writes_of_one_data_point_wins_also_where_a_device_is_doubled() {
    let mut gateway = home();
    let mut first = write("a", "temp", 1);
    first
        .readings
        .push(Reading::new("switch_1", Value::from(true)));
    first.readings.push(Reading::new("temp", Value::from(2)));
    let writes = [first, write("b", "temp", 4), write("a", "temp", 3)];
    let pending = gateway.registry.write(&writes).unwrap();
    let command = gateway.command().await;
    assert_eq!(command.device.as_str(), "a");
    let expected = [
        Reading::new("switch_1", Value::from(true)),
        Reading::new("temp", Value::from(3)),
    ];
    assert_eq!(command.readings, expected);
    command.ack.succeed();
    let command = gateway.command().await;
    assert_eq!(command.device.as_str(), "b");
    command.ack.succeed();
    assert_eq!(pending.await, Ok(()));
    assert!(gateway.port.commands.try_recv().is_err());
}

#[tokio::test]
async fn writes_reach_the_driver_in_order_of_arrival() {
    let mut gateway = home();
    let pending: Vec<_> = (0..100)
        .map(|value| {
            gateway
                .registry
                .write(&[write("a", "temp", value)])
                .unwrap()
        })
        .collect();
    for value in 0..100 {
        let command = gateway.command().await;
        assert_eq!(command.readings[0].value, Value::from(value));
        command.ack.succeed();
    }
    for outcome in pending {
        assert_eq!(outcome.await, Ok(()));
    }
}

#[tokio::test]
async fn where_one_device_fails_the_answer_names_it_alone() {
    let mut gateway = home();
    let writes = [write("a", "temp", 1), write("b", "temp", 1)];
    let pending = gateway.registry.write(&writes).unwrap();
    gateway.command().await.ack.succeed();
    let fault = CommandFault {
        code: ErrorCode::Internal,
        message: "device b: the radio is broken".to_owned(),
    };
    gateway.command().await.ack.fail(fault);
    let error = pending.await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert_eq!(error.message, "device b: the radio is broken");
    assert_eq!(error.details.len(), 1);
}

#[tokio::test]
async fn a_driver_that_drops_a_command_or_has_ended_is_an_internal_fault() {
    let mut gateway = home();
    let writes = [write("a", "temp", 1)];
    let pending = gateway.registry.write(&writes).unwrap();
    drop(gateway.command().await);
    let error = pending.await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    gateway.port.commands.close();
    let error = refusal(&gateway, &writes);
    assert_eq!(error.code, ErrorCode::Internal);
    assert_eq!(error.message, "the driver of device a ended");
}

#[tokio::test]
async fn where_one_device_is_busy_none_gets_anything() {
    let mut gateway = home();
    let mut waiting = Vec::new();
    while let Ok(pending) = gateway.registry.write(&[write("a", "temp", 1)]) {
        waiting.push(pending);
    }
    assert_eq!(waiting.len(), crate::driver::COMMANDS_WAITING);
    gateway.command().await.ack.succeed();
    let both = [write("a", "temp", 2), write("b", "temp", 2)];
    assert_eq!(refusal(&gateway, &both).code, ErrorCode::Busy);
    let alone = gateway.registry.write(&both[..1]);
    assert!(
        alone.is_ok(),
        "the place that was reserved is not given back"
    );
}

#[tokio::test(start_paused = true)]
async fn an_off_step_value_is_taken_unless_steps_are_strict() {
    use crate::registry::Registry;
    use crate::testing::{TestDriver, stamp};
    use hearthgate_protocol::model::{DataPoint, Device, Schema};
    for strict in [false, true] {
        let values = Value::from("{\"min\":0,\"max\":100,\"step\":5}");
        let point = DataPoint::new("level", "Integer", values);
        let schema = Schema::new("dj", vec![point], Vec::new());
        let device = Device::new("d".into(), schema.into(), true, [], stamp());
        let (driver, port) = TestDriver::new(vec![device]);
        let stop = tokio_util::sync::CancellationToken::new();
        let (registry, _running) = Registry::start(vec![Box::new(driver)], strict, &stop).unwrap();
        let _port = port.recv().unwrap();
        assert_eq!(registry.write(&[write("d", "level", 7)]).is_err(), strict);
        assert!(registry.write(&[write("d", "level", 10)]).is_ok());
    }
}

#[tokio::test]
async fn of_a_hundred_thousand_faults_a_thousand_are_listed_and_the_rest_is_counted() {
    let gateway = home();
    let writes: Vec<DeviceWrite> = (0..100_000)
        .map(|number| write(&format!("x{number}"), "temp", 1))
        .collect();
    let error = refusal(&gateway, &writes);
    assert_eq!(error.details.len(), 1000);
    assert_eq!(error.details[999].message, "no device x999");
    assert_eq!(
        error.message,
        "no device x0; 99000 more faults than the 1000 in details"
    );
}
