//! From the start of `hearthgate gateway` with a folder of 1,000 profiles to its first answer.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hearthgate_protocol::model::DeviceId;
use hearthgate_protocol::wire::Request;

use crate::Outcome;
use crate::child::Running;
use crate::fanout::one_thread;
use crate::requests::Frozen;
use crate::serve::KEY;

/// Writes profiles of some usual shapes.
pub(crate) fn write_profiles(folder: &Path, count: usize) -> Outcome<()> {
    let point = |code: &str, kind: &str, values: &str| serde_json::json!({"code": code, "type": kind, "values": serde_json::from_str::<serde_json::Value>(values).unwrap_or_default()});
    let switch = |number: usize| point(&format!("switch_{number}"), "Boolean", "{}");
    let countdown = |number: usize| {
        point(
            &format!("countdown_{number}"),
            "Integer",
            r#"{"unit":"s","min":0,"max":86400,"scale":0,"step":1}"#,
        )
    };
    for index in 0..count {
        let (category, points, values) = match index % 4 {
            // A power strip.
            0 => {
                let mut points: Vec<_> = (1..5).flat_map(|n| [switch(n), countdown(n)]).collect();
                points.push(point(
                    "relay_status",
                    "Enum",
                    r#"{"range":["power_off","power_on","last"]}"#,
                ));
                points.push(point(
                    "cur_power",
                    "Integer",
                    r#"{"unit":"W","min":0,"max":50000,"scale":1,"step":1}"#,
                ));
                let values = serde_json::json!([
                    {"k":"switch_1","v":true},{"k":"countdown_1","v":0},{"k":"switch_2","v":false},
                    {"k":"relay_status","v":"last"},{"k":"cur_power","v":1234}]);
                ("pc", points, values)
            }
            // A lamp.
            1 => {
                let colour = r#"{"h":{"min":0,"scale":0,"unit":"","max":360,"step":1},"s":{"min":0,"scale":0,"unit":"","max":1000,"step":1},"v":{"min":0,"scale":0,"unit":"","max":1000,"step":1}}"#;
                let points = vec![
                    point("switch_led", "Boolean", "{}"),
                    point(
                        "work_mode",
                        "Enum",
                        r#"{"range":["white","colour","scene","music"]}"#,
                    ),
                    point(
                        "bright_value_v2",
                        "Integer",
                        r#"{"min":10,"scale":0,"unit":"","max":1000,"step":1}"#,
                    ),
                    point(
                        "temp_value_v2",
                        "Integer",
                        r#"{"min":0,"scale":0,"unit":"","max":1000,"step":1}"#,
                    ),
                    point("colour_data_v2", "Json", colour),
                    point("scene_data_v2", "Json", colour),
                    countdown(1),
                ];
                let values = serde_json::json!([
                    {"k":"switch_led","v":true},{"k":"work_mode","v":"white"},{"k":"bright_value_v2","v":700},
                    {"k":"colour_data_v2","v":"{\"h\":120,\"s\":1000,\"v\":500}"}]);
                ("dj", points, values)
            }
            // A thermostat.
            2 => {
                let points = vec![
                    switch(1),
                    point(
                        "mode",
                        "Enum",
                        r#"{"range":["auto","manual","holiday","comfort","eco"]}"#,
                    ),
                    point(
                        "temp_set",
                        "Integer",
                        r#"{"unit":"℃","min":10,"max":700,"scale":1,"step":5}"#,
                    ),
                    point(
                        "temp_current",
                        "Integer",
                        r#"{"unit":"℃","min":-200,"max":1000,"scale":1,"step":1}"#,
                    ),
                    point("child_lock", "Boolean", "{}"),
                    point(
                        "fault",
                        "Bitmap",
                        r#"{"label":["low_battery","sensor_fault","motor_fault"]}"#,
                    ),
                ];
                let values = serde_json::json!([
                    {"k":"switch_1","v":true},{"k":"mode","v":"auto"},{"k":"temp_set","v":215},
                    {"k":"temp_current","v":198},{"k":"child_lock","v":false},{"k":"fault","v":0}]);
                ("wk", points, values)
            }
            // A sensor.
            _ => {
                let points = vec![
                    point(
                        "va_temperature",
                        "Integer",
                        r#"{"unit":"℃","min":-200,"max":600,"scale":1,"step":1}"#,
                    ),
                    point(
                        "va_humidity",
                        "Integer",
                        r#"{"unit":"%","min":0,"max":1000,"scale":1,"step":1}"#,
                    ),
                    point(
                        "battery_percentage",
                        "Integer",
                        r#"{"unit":"%","min":0,"max":100,"scale":0,"step":1}"#,
                    ),
                ];
                let values = serde_json::json!([
                    {"k":"va_temperature","v":215},{"k":"va_humidity","v":480},{"k":"battery_percentage","v":90}]);
                ("wsdcg", points, values)
            }
        };
        let reports_only = category == "wsdcg";
        let profile = serde_json::json!({
            "devid": format!("bench{index:015}"),
            "name": format!("Device {index}"),
            "category": category,
            "function": if reports_only { Vec::new() } else { points.clone() },
            "status": points,
            "online": true,
            "value": values,
        });
        let path = folder.join(format!("device-{index:05}.json"));
        std::fs::write(path, serde_json::to_vec_pretty(&profile)?)?;
    }
    Ok(())
}

/// Returns the time to the first answer, and the resident memory then, in bytes.
pub(crate) fn run(program: &Path, profiles: &Path) -> Outcome<(Duration, u64)> {
    // Free a moment ago; should somebody take it meanwhile, the gateway says so and this run fails.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(program);
    command
        .args([
            "gateway",
            "--state",
            "none",
            "--no-advertise",
            "--log-level",
            "error",
            "--devices",
        ])
        .arg(profiles)
        .args(["--listen", &address.to_string()])
        .env("HEARTHGATE_KEY", std::str::from_utf8(&KEY)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let start = Instant::now();
    let running = Running::silent(command.spawn()?, address);
    one_thread()?.block_on(async {
        loop {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                break;
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err("the gateway does not listen".into());
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let first = |ids: Vec<DeviceId>| Request::GetStatus(ids.into_iter().take(1).collect());
        Frozen::open(address, &first).await?;
        Ok((start.elapsed(), running.resident_in_all()?))
    })
}
