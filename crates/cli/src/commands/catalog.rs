//! `hearthgate catalog`: what Home Assistant makes of devices, for those who write the catalog.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hearthgate_homeassistant::check::{self, Finding};
use hearthgate_homeassistant::{
    Catalog, DiscoveryContext, Entity, Mapping, Origin, Overrides, Topics,
};
use hearthgate_protocol::model::{Device, Source, Stamp, Timestamp};
use hearthgate_protocol::wire::Profile;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    command: CatalogCommand,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// Lists the categories that the catalog knows
    List {
        /// Prints an array of `{category, name}`.
        #[arg(long)]
        json: bool,
    },
    /// Prints the catalog's file of a category
    Show {
        /// The vendor's code of the category, such as `cz`.
        #[arg(value_name = "CATEGORY")]
        category: String,
    },
    /// Shows the entities that devices become
    #[command(after_help = "Examples:
  hearthgate catalog entities profiles/plug.json
  hearthgate catalog entities profiles/ --overrides overrides.toml --json")]
    Entities {
        /// Device profiles: files, or folders of *.json files.
        #[arg(value_name = "DIR|FILE", required = true)]
        profiles: Vec<PathBuf>,
        /// The override file.
        #[arg(long, value_name = "FILE")]
        overrides: Option<PathBuf>,
        /// Prints an object of arrays of entities, by file.
        #[arg(long)]
        json: bool,
    },
    /// Prints the discovery message and the state object of devices, as they would be published
    #[command(after_help = "Examples:
  hearthgate catalog discovery profiles/plug.json | jq .")]
    Discovery {
        /// Device profiles: files, or folders of *.json files.
        #[arg(value_name = "DIR|FILE", required = true)]
        profiles: Vec<PathBuf>,
        /// The override file.
        #[arg(long, value_name = "FILE")]
        overrides: Option<PathBuf>,
    },
    /// Compares the entities of devices with what is expected of them
    #[command(after_help = "Examples:
  hearthgate catalog check profiles/ --expected expected.json

The file of expected entities is an object: the name of each profile's file, and an array of
`{code, platform, device_class, unit, state_class}`. Exit code 1 where something is missing or
differs without a reason that the catalog names.")]
    Check {
        /// Device profiles: a folder of *.json files, or one file.
        #[arg(value_name = "DIR")]
        profiles: PathBuf,
        /// The file of expected entities.
        #[arg(long, value_name = "FILE")]
        expected: PathBuf,
        /// Prints one object: counts, and every finding with its file.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub(super) fn run(args: &CatalogArgs) -> Result<(), Failure> {
    match &args.command {
        CatalogCommand::List { json } => list(*json),
        CatalogCommand::Show { category } => show(category),
        CatalogCommand::Entities {
            profiles,
            overrides,
            json,
        } => entities(profiles, overrides.as_deref(), *json),
        CatalogCommand::Discovery {
            profiles,
            overrides,
        } => discovery(profiles, overrides.as_deref()),
        CatalogCommand::Check {
            profiles,
            expected,
            json,
        } => compare(profiles, expected, *json),
    }
}

fn list(json: bool) -> Result<(), Failure> {
    let categories = Catalog::builtin().categories();
    if json {
        let all: Vec<Value> = categories
            .map(|(category, name)| json!({"category": category, "name": name}))
            .collect();
        return Ok(output::line(&Value::from(all).to_string())?);
    }
    let rows = categories
        .map(|(category, name)| [category.to_owned(), name.to_owned()])
        .collect();
    Ok(output::table(["CATEGORY", "NAME"], rows, "no categories")?)
}

fn show(category: &str) -> Result<(), Failure> {
    let file = format!("{category}.toml");
    match Catalog::files().iter().find(|(name, _)| *name == file) {
        Some((_, text)) => Ok(output::line(text.trim_end())?),
        None => Err(Failure::usage(format!(
            "no file for category `{category}`; `hearthgate catalog list` shows those that are there"
        ))),
    }
}

fn entities(paths: &[PathBuf], overrides: Option<&Path>, json: bool) -> Result<(), Failure> {
    let overrides = overriding(overrides)?;
    let mut all = serde_json::Map::new();
    for path in paths {
        for (file, mapping) in mappings(path, &overrides)? {
            if json {
                let rows: Vec<Value> = mapping.entities().iter().map(described).collect();
                all.insert(file, Value::from(rows));
            } else {
                output::line(&format!(
                    "{file}: {} ({})",
                    mapping.model(),
                    mapping.category()
                ))?;
                entity_table(&mapping)?;
            }
        }
    }
    if json {
        output::line(&Value::Object(all).to_string())?;
    }
    Ok(())
}

fn overriding(path: Option<&Path>) -> Result<Overrides, Failure> {
    match path {
        None => Ok(Overrides::default()),
        Some(path) => {
            Overrides::parse(&read(path)?, &path.display().to_string()).map_err(Failure::usage)
        }
    }
}

/// Prints one object a line: file, discovery, state.
fn discovery(paths: &[PathBuf], overrides: Option<&Path>) -> Result<(), Failure> {
    let overrides = overriding(overrides)?;
    for path in paths {
        for (file, device, mapping) in devices(path, &overrides)? {
            let base = format!("hearthgate/profiles/{}", device.id());
            let context = DiscoveryContext {
                topics: Topics {
                    state: format!("{base}/state"),
                    set: format!("{base}/set"),
                    event: format!("{base}/event"),
                    availability: vec![format!("{base}/availability")],
                },
                name: None,
                via_device: None,
                configuration_url: None,
                origin: Origin {
                    name: "Hearthgate".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    url: None,
                },
            };
            let printed = json!({
                "file": file,
                "object_id": mapping.object_id(),
                "discovery": mapping.discovery(&context),
                "state": mapping.state(&device),
            });
            output::line(&printed.to_string())?;
        }
    }
    Ok(())
}

fn entity_table(mapping: &Mapping) -> Result<(), Failure> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let row = |entity: &Entity| {
        [
            entity.platform.name().to_owned(),
            entity.code.clone(),
            text(&entity.part),
            entity
                .name
                .clone()
                .unwrap_or_else(|| "(the device's)".to_owned()),
            text(&entity.device_class),
            text(&entity.unit),
            entity
                .category
                .map_or("", |category| category.name())
                .to_owned(),
            if entity.enabled { "yes" } else { "no" }.to_owned(),
        ]
    };
    let header = [
        "PLATFORM", "CODE", "PART", "NAME", "CLASS", "UNIT", "CATEGORY", "ENABLED",
    ];
    Ok(output::table(
        header,
        mapping.entities().iter().map(row).collect(),
        "no entities",
    )?)
}

fn described(entity: &Entity) -> Value {
    json!({
        "platform": entity.platform.name(),
        "code": entity.code,
        "part": entity.part,
        "codes": entity.codes,
        "unique_id": entity.unique_id,
        "name": entity.name,
        "device_class": entity.device_class,
        "state_class": entity.state_class,
        "unit": entity.unit,
        "entity_category": entity.category.map(|category| category.name()),
        "enabled": entity.enabled,
        "icon": entity.icon,
        "options": entity.options,
    })
}

fn compare(profiles: &Path, expected: &Path, json: bool) -> Result<(), Failure> {
    let home = check::parse_expected(&read(expected)?).map_err(|error| {
        Failure::usage(format!(
            "{} holds no expected entities: {error}",
            expected.display()
        ))
    })?;
    let catalog = Catalog::builtin();
    let (mut total, mut devices) = (0usize, 0usize);
    let mut findings: Vec<(String, Finding)> = Vec::new();
    let mut seen = Vec::new();
    for (file, mapping) in mappings(profiles, &Overrides::default())? {
        if let Some(wanted) = home.get(&file) {
            devices += 1;
            total += wanted.len();
            let found = check::compare(catalog, &mapping, wanted);
            findings.extend(found.into_iter().map(|finding| (file.clone(), finding)));
        }
        seen.push(file);
    }
    let absent: Vec<&String> = home.keys().filter(|file| !seen.contains(file)).collect();
    let unexplained = findings
        .iter()
        .filter(|(_, finding)| finding.reason.is_none())
        .count();
    let explained = findings.len() - unexplained;
    if json {
        let rows: Vec<Value> = findings
            .iter()
            .map(|(file, finding)| {
                let mut row = json!(finding);
                if let Some(fields) = row.as_object_mut() {
                    fields.insert("file".to_owned(), json!(file));
                }
                row
            })
            .collect();
        let report = json!({
            "devices": devices, "expected": total, "unexplained": unexplained, "explained": explained,
            "absent_profiles": absent, "findings": rows,
        });
        output::line(&report.to_string())?;
    } else {
        report(&findings)?;
        for file in &absent {
            output::line(&format!("{file}: expected, but there is no such profile"))?;
        }
        output::line(&format!(
            "{devices} devices, {total} expected entities: {unexplained} differences without a reason, {explained} with one"
        ))?;
    }
    match (unexplained, absent.len()) {
        (0, 0) => Ok(()),
        (unexplained, 0) => Err(Failure::local(format!(
            "{unexplained} differences have no reason in the catalog"
        ))),
        (_, absent) => Err(Failure::local(format!(
            "{absent} expected profiles are not in {}",
            profiles.display()
        ))),
    }
}

fn report(findings: &[(String, Finding)]) -> Result<(), Failure> {
    if findings.is_empty() {
        return Ok(());
    }
    let rows = findings
        .iter()
        .map(|(file, finding)| {
            [
                file.clone(),
                finding.platform.clone(),
                finding.code.clone(),
                finding.field.clone(),
                finding.expected.clone(),
                finding.ours.clone(),
                finding.reason.clone().unwrap_or_else(|| "none".to_owned()),
            ]
        })
        .collect();
    let header = [
        "FILE", "PLATFORM", "CODE", "WHAT", "EXPECTED", "OURS", "REASON",
    ];
    Ok(output::table(header, rows, "")?)
}

/// Reads profiles and makes their mappings, by the name of their file.
fn devices(path: &Path, overrides: &Overrides) -> Result<Vec<(String, Device, Mapping)>, Failure> {
    let mut files = Vec::new();
    if path.is_dir() {
        let entries = fs::read_dir(path)
            .map_err(|error| Failure::usage(format!("cannot list {}: {error}", path.display())))?;
        for entry in entries.flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.push(entry.path());
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(Failure::usage(format!(
                "{} holds no *.json file",
                path.display()
            )));
        }
    } else {
        files.push(path.to_owned());
    }
    let stamp = Stamp {
        at: Timestamp(0),
        source: Source::Cache,
    };
    let mut mappings = Vec::new();
    for file in files {
        let profile = Profile::parse(&read(&file)?).map_err(|error| {
            Failure::usage(format!("{} is no device profile: {error}", file.display()))
        })?;
        let device = Device::new(
            profile.device,
            profile.schema,
            profile.online,
            profile.readings,
            stamp,
        );
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mapping = Mapping::new(Catalog::builtin(), overrides, "profiles", &device);
        mappings.push((name, device, mapping));
    }
    Ok(mappings)
}

fn mappings(path: &Path, overrides: &Overrides) -> Result<Vec<(String, Mapping)>, Failure> {
    let all = devices(path, overrides)?.into_iter();
    Ok(all.map(|(file, _, mapping)| (file, mapping)).collect())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))
}
