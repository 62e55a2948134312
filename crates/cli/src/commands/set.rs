//! `hearthgate set`: writes values of one device, checked before anything is sent.

use hearthgate_client::{Client, ClientError};
use hearthgate_protocol::model::{DeviceId, Reading, Schema, Value, check_write, compact};
use hearthgate_protocol::wire::{DeviceWrite, RemoteError};

use super::{closing, connect, read, table};
use crate::args::SetArgs;
use crate::exit::Failure;
use crate::names::Names;
use crate::{output, select};

/// What stands behind a code on the command line.
#[derive(Debug, PartialEq, Eq)]
enum Assigned<'a> {
    /// `=`: in the user's units.
    Input(&'a str),
    /// `:=`: JSON as on the wire.
    Json(&'a str),
}

/// Runs the command.
pub(super) async fn run(args: SetArgs) -> Result<(), Failure> {
    let assignments = args
        .assignments
        .iter()
        .map(|text| split(text))
        .collect::<Result<Vec<_>, _>>()?;
    let names = Names::load(&args.names.names)?;
    let (client, _) = connect(&args.gateway, false).await?;
    let outcome = write(&client, &names, &args, &assignments).await;
    closing(&client, outcome).await
}

async fn write(
    client: &Client,
    names: &Names,
    args: &SetArgs,
    assignments: &[(&str, Assigned<'_>)],
) -> Result<(), Failure> {
    let device = select::device(&client.devices().await?, names, &args.device)?;
    let schemas = read::schemas(client, std::slice::from_ref(&device)).await?;
    let Some((_, schema)) = schemas.into_iter().find(|(id, _)| *id == device) else {
        return Err(Failure::local(format!(
            "the gateway sent no schema of device {device}"
        )));
    };
    let readings = assignments
        .iter()
        .map(|(code, assigned)| reading(&schema, &device, code, assigned))
        .collect::<Result<Vec<Reading>, Failure>>()?;
    let write = DeviceWrite {
        device: device.clone(),
        readings: readings.clone(),
    };
    let outcome = client.try_set(vec![write]).await?;
    if args.json {
        output::line(&result_json(&outcome))?;
    }
    if let Err(error) = outcome {
        return Err(ClientError::Refused {
            gateway: client.gateway().into(),
            error,
        }
        .into());
    }
    if !args.json {
        for Reading { code, value } in readings {
            let value = table::shown_with_unit(Some(&schema), code.as_str(), &value);
            output::line(&output::printable(&format!("{device}  {code} = {value}")))?;
        }
    }
    Ok(())
}

/// Makes the result as it is on the wire.
fn result_json(outcome: &Result<String, RemoteError>) -> String {
    match outcome {
        Ok(result) if result.is_empty() => r#"{"type":"result","success":true}"#.to_owned(),
        Ok(result) => format!(
            r#"{{"type":"result","success":true,"result":{}}}"#,
            compact(result)
        ),
        Err(error) => {
            format!(
                r#"{{"type":"result","success":false,"error":{}}}"#,
                compact(&error.json)
            )
        }
    }
}

/// Splits `code=value` and `code:=json`.
fn split(text: &str) -> Result<(&str, Assigned<'_>), Failure> {
    let wrong = || {
        Failure::usage(format!(
            "`{text}` is no assignment: write CODE=VALUE in the user's units, such as temp_set=21.5, \
             or CODE:=JSON for the raw value, such as temp_set:=215"
        ))
    };
    let (code, value) = text.split_once('=').ok_or_else(wrong)?;
    let (code, assigned) = match code.strip_suffix(':') {
        Some(code) => (code, Assigned::Json(value)),
        None => (code, Assigned::Input(value)),
    };
    if code.is_empty() {
        Err(wrong())
    } else {
        Ok((code, assigned))
    }
}

/// Makes the value for the wire and checks it against the schema.
fn reading(
    schema: &Schema,
    device: &DeviceId,
    code: &str,
    assigned: &Assigned<'_>,
) -> Result<Reading, Failure> {
    let value = match assigned {
        Assigned::Json(json) => Value::parse(json)
            .map_err(|error| Failure::usage(format!("{code}:={json}: {error}")))?,
        // A code that takes no writes is refused by the check below.
        Assigned::Input(text) => match schema.function(code) {
            Some(point) => point
                .spec()
                .parse_input(text)
                .map_err(|problem| Failure::usage(format!("device {device}: {code}: {problem}")))?,
            None => Value::from(*text),
        },
    };
    match check_write(schema, code, &value, false) {
        Ok(()) => Ok(Reading::new(code, value)),
        Err(refusal) => {
            let known: Vec<&str> = schema
                .functions()
                .iter()
                .map(|point| point.code().as_str())
                .collect();
            let hint = match schema.function(code) {
                Some(_) => String::new(),
                None if known.is_empty() => "; it takes no writes at all".to_owned(),
                None => format!("; it takes {}", known.join(", ")),
            };
            Err(Failure::usage(format!("device {device}: {refusal}{hint}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_split_at_the_first_equals_sign() {
        assert_eq!(split("a=b=c").unwrap(), ("a", Assigned::Input("b=c")));
        assert_eq!(
            split("a:={\"x\":1}").unwrap(),
            ("a", Assigned::Json("{\"x\":1}"))
        );
        assert_eq!(split("a=:=").unwrap(), ("a", Assigned::Input(":=")));
        assert_eq!(split("a=").unwrap(), ("a", Assigned::Input("")));
        for text in ["a", "", "=b", ":=1"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
