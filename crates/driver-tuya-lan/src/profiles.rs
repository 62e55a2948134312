//! Data points by kind of device, for devices of which the cloud's mapping is not at hand.
//!
//! Built in are common categories; files of the same form add products and categories, or replace them:
//! `{"CATEGORY or PRODUCT": {"NUMBER": ["code", "type", "rw|ro|wo", {values}]}}`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;

use crate::points::{Access, Point};

const BUILT_IN: &str = include_str!("profiles.json");

type Profile = BTreeMap<u16, Point>;

/// All profiles that are known.
#[derive(Debug, Default)]
pub(crate) struct Profiles(HashMap<String, Profile>);

impl Profiles {
    /// Loads the built-in profiles and, over them, those of files.
    ///
    /// # Errors
    /// Names the file, the profile and the data point that is wrong.
    pub(crate) fn load(files: impl Iterator<Item = PathBuf>) -> Result<Self, String> {
        let mut profiles = Self::default();
        profiles
            .add(BUILT_IN)
            .map_err(|problem| format!("built-in profiles: {problem}"))?;
        for path in files {
            let at = |problem: String| format!("{}: {problem}", path.display());
            let text = fs::read_to_string(&path)
                .map_err(|error| at(format!("cannot be read: {error}")))?;
            profiles.add(&text).map_err(at)?;
        }
        Ok(profiles)
    }

    /// Returns the profile of a product, else that of a category.
    pub(crate) fn of(
        &self,
        product: Option<&str>,
        category: &str,
    ) -> impl Iterator<Item = (&u16, &Point)> {
        let of_product = product.and_then(|product| self.0.get(product));
        of_product
            .or_else(|| self.0.get(category))
            .into_iter()
            .flatten()
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let json: BTreeMap<String, BTreeMap<String, Json>> =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (name, points) in json {
            let mut profile = Profile::new();
            for (number, item) in &points {
                let at = |problem: &str| format!("{name}: data point {number}: {problem}");
                let number: u16 = number
                    .parse()
                    .ok()
                    .filter(|number| *number > 0)
                    .ok_or_else(|| at("is no number from 1 to 65535"))?;
                profile.insert(
                    number,
                    point(item)
                        .ok_or_else(|| at("write [\"code\", \"type\", \"rw|ro|wo\", {values}]"))?,
                );
            }
            self.0.insert(name, profile);
        }
        Ok(())
    }
}

fn point(item: &Json) -> Option<Point> {
    let (code, type_name, access, values) = match item.as_array()?.as_slice() {
        [code, type_name, access] => (code, type_name, access, "{}".to_owned()),
        [code, type_name, access, values @ Json::Object(_)] => {
            (code, type_name, access, values.to_string())
        }
        _ => return None,
    };
    let access = Access::parse(access.as_str()?)?;
    Some(Point::new(
        code.as_str()?,
        type_name.as_str()?,
        &values,
        access,
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use hearthgate_protocol::model::Spec;

    use super::*;

    #[test]
    fn the_built_in_profiles_are_right() {
        let profiles = Profiles::load(std::iter::empty()).unwrap();
        for (name, profile) in &profiles.0 {
            for (number, point) in profile {
                let declared = &point.declared;
                assert_ne!(declared.spec(), &Spec::Unknown, "{name} {number}");
                if let Spec::Integer(spec) = declared.spec() {
                    assert!(spec.min.is_some() && spec.max > spec.min, "{name} {number}");
                }
            }
        }
        assert!(profiles.of(None, "cz").count() > 5);
        assert_eq!(profiles.of(None, "unheard").count(), 0);
    }

    #[test]
    fn a_file_adds_a_product_and_says_what_is_wrong() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(br#"{"keyabc": {"7": ["fan", "Enum", "rw", {"range":["low"]}]}}"#)
            .unwrap();
        let profiles = Profiles::load([file.path().to_owned()].into_iter()).unwrap();
        assert_eq!(profiles.of(Some("keyabc"), "cz").count(), 1);
        for (text, problem) in [
            (
                r#"{"a": {"x": ["c", "Enum", "rw"]}}"#,
                "a: data point x: is no number",
            ),
            (
                r#"{"a": {"1": ["c", "Enum", "maybe"]}}"#,
                "a: data point 1: write",
            ),
            ("{", "line 1"),
        ] {
            let mut profiles = Profiles::default();
            let found = profiles.add(text).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
    }
}
