//! The data points of one device: number on its side, code, type and limits on ours.
//!
//! Input are the mapping of the cloud, a profile, the configuration, and what the device shows; output
//! is the schema. A table only ever grows.

use std::collections::{BTreeMap, HashSet};

use hearthgate_protocol::model::{Code, DataPoint, Schema, Value};

/// The most data points of one device; what it shows beyond that is left out.
const POINTS_MAX: usize = 512;

/// What can be done with a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// It reports: it is in `status`.
    pub reads: bool,
    /// It takes writes: it is in `function`.
    pub writes: bool,
}

impl Access {
    /// Both; what is assumed where nothing is known.
    pub const BOTH: Self = Self {
        reads: true,
        writes: true,
    };

    /// Parses `rw`, `ro`, or `wr` and `wo`, in the cloud's spellings too.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "rw" => Some(Self::BOTH),
            "ro" => Some(Self {
                reads: true,
                writes: false,
            }),
            "wr" | "wo" => Some(Self {
                reads: false,
                writes: true,
            }),
            _ => None,
        }
    }

    /// Returns the name.
    pub(crate) fn name(self) -> &'static str {
        match (self.reads, self.writes) {
            (true, false) => "ro",
            (false, true) => "wo",
            _ => "rw",
        }
    }
}

/// One data point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// What it is and which values it takes, as the gateway's schema has it.
    pub declared: DataPoint,
    /// What can be done with it.
    pub access: Access,
}

impl Point {
    /// Makes a point.
    pub fn new(code: &str, type_name: &str, values: &str, access: Access) -> Self {
        Self {
            declared: DataPoint::new(code, type_name, Value::from(values)),
            access,
        }
    }

    fn rename(&mut self, code: &str) {
        let values = self.declared.values().clone();
        self.declared = DataPoint::new(code, self.declared.type_name(), values);
    }

    /// Makes the point of a number that nothing is known about, of the type that its value shows.
    fn shown(number: u16, code: Option<&str>, value: &Value) -> Self {
        let (type_name, values) = if value.as_bool().is_some() {
            ("Boolean", "{}")
        } else if value.as_i64().is_some() || value.is_other_number() {
            (
                "Integer",
                r#"{"unit":"","min":-2147483648,"max":2147483647,"scale":0,"step":1}"#,
            )
        } else if value.is_object() {
            ("Json", "{}")
        } else {
            ("String", "{}")
        };
        let code = code.map_or_else(|| format!("dp_{number}"), str::to_owned);
        Self::new(&code, type_name, values, Access::BOTH)
    }
}

/// The data points of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PointTable {
    /// Those in the schema, by number.
    declared: BTreeMap<u16, Point>,
    /// Those that a profile describes; each moves to the schema when the device shows it.
    offered: BTreeMap<u16, Point>,
    /// Codes alone, for points that will be typed by what they show.
    named: BTreeMap<u16, String>,
}

impl PointTable {
    /// Declares a point. One of a number that is declared replaces it.
    ///
    /// # Errors
    /// Where another number has the same code; returns that number.
    pub(crate) fn declare(&mut self, number: u16, point: Point) -> Result<(), u16> {
        self.free(number, point.declared.code().as_str())?;
        self.named.remove(&number);
        self.declared.insert(number, point);
        Ok(())
    }

    /// Names a point whose type the device will show, or renames one.
    ///
    /// # Errors
    /// As [`PointTable::declare`].
    pub(crate) fn name(&mut self, number: u16, code: &str) -> Result<(), u16> {
        self.free(number, code)?;
        match self.declared.get_mut(&number) {
            Some(point) => point.rename(code),
            None => {
                self.named.insert(number, code.to_owned());
            }
        }
        Ok(())
    }

    /// Offers what a profile knows; what is declared, named or offered already stays. A profile of
    /// several generations of a product has some codes twice: the number that is shown first has it.
    pub(crate) fn offer(&mut self, number: u16, point: &Point) {
        if self.declared.contains_key(&number) {
            return;
        }
        let mut point = point.clone();
        if let Some(code) = self.named.remove(&number) {
            point.rename(&code);
        }
        self.offered.entry(number).or_insert(point);
    }

    /// Takes note of a value that the device shows. Tells whether its point is in the schema, and
    /// whether it came into it just now.
    pub(crate) fn admit(&mut self, number: u16, value: &Value) -> Admitted {
        if self.declared.contains_key(&number) {
            return Admitted::Known;
        }
        if self.declared.len() >= POINTS_MAX {
            return Admitted::TooMany;
        }
        let name = self.named.remove(&number);
        let mut point = match self.offered.remove(&number) {
            Some(point) => point,
            None => Point::shown(number, name.as_deref(), value),
        };
        for code in [format!("dp_{number}"), format!("dp_{number}_")] {
            if self.free(number, point.declared.code().as_str()).is_err() {
                point.rename(&code);
            }
        }
        self.declared.insert(number, point);
        Admitted::New
    }

    /// Returns the point of a number, if it is in the schema.
    pub(crate) fn point(&self, number: u16) -> Option<&Point> {
        self.declared.get(&number)
    }

    /// Returns the point of a code, if it is in the schema.
    pub(crate) fn by_code(&self, code: &str) -> Option<(u16, &Point)> {
        self.declared
            .iter()
            .find(|(_, point)| point.declared.code().as_str() == code)
            .map(|(number, point)| (*number, point))
    }

    /// Returns all numbers that are known or can be guessed, for devices that must be asked by number.
    pub(crate) fn numbers(&self) -> Vec<u16> {
        let known = self.declared.keys().chain(self.offered.keys());
        let numbers: HashSet<u16> = known.chain(self.named.keys()).copied().collect();
        let mut numbers: Vec<u16> = numbers.into_iter().collect();
        numbers.sort_unstable();
        numbers
    }

    /// Returns the points in the schema, by number.
    pub fn points(&self) -> impl Iterator<Item = (u16, &Point)> {
        self.declared.iter().map(|(number, point)| (*number, point))
    }

    /// Returns how many points are in the schema.
    pub fn len(&self) -> usize {
        self.declared.len()
    }

    /// Tells whether the schema is empty.
    pub fn is_empty(&self) -> bool {
        self.declared.is_empty()
    }

    /// Returns the codes of points that are named and not yet typed.
    pub(crate) fn named(&self) -> impl Iterator<Item = (u16, &str)> {
        self.named
            .iter()
            .map(|(number, code)| (*number, code.as_str()))
    }

    /// Returns the schema.
    pub(crate) fn schema(&self, category: &str) -> Schema {
        let with = |wanted: fn(Access) -> bool| {
            self.declared
                .values()
                .filter(|point| wanted(point.access))
                .map(|point| point.declared.clone())
                .collect()
        };
        Schema::new(
            category,
            with(|access| access.writes),
            with(|access| access.reads),
        )
    }

    /// Refuses a code that another number has.
    fn free(&self, number: u16, code: &str) -> Result<(), u16> {
        let same = |known: &Code| known.as_str() == code;
        let points = self
            .declared
            .iter()
            .filter(|(_, point)| same(point.declared.code()));
        let named = self.named.iter().filter(|(_, name)| name.as_str() == code);
        points
            .map(|(other, _)| *other)
            .chain(named.map(|(other, _)| *other))
            .find(|other| *other != number)
            .map_or(Ok(()), Err)
    }
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Its point was in the schema.
    Known,
    /// Its point came into the schema.
    New,
    /// The device shows more than any device has.
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    #[test]
    fn what_nothing_is_known_about_is_typed_by_what_it_shows() {
        let mut table = PointTable::default();
        for (number, value, type_name) in [
            (1, "true", "Boolean"),
            (2, "7", "Integer"),
            (3, "\"white\"", "String"),
            (4, "{\"h\":1}", "Json"),
            (5, "2.5", "Integer"),
        ] {
            assert_eq!(table.admit(number, &json(value)), Admitted::New);
            assert_eq!(table.admit(number, &json("null")), Admitted::Known);
            let point = table.point(number).unwrap();
            assert_eq!(point.declared.type_name(), type_name);
            assert_eq!(point.declared.code().as_str(), format!("dp_{number}"));
        }
        let schema = table.schema("zz");
        assert_eq!(schema.functions().len(), 5);
        assert_eq!(schema.statuses().len(), 5);
    }

    #[test]
    fn a_profile_declares_only_what_the_device_shows() {
        let mut table = PointTable::default();
        let read_only = Access::parse("ro").unwrap();
        table.offer(1, &Point::new("switch_1", "Boolean", "{}", Access::BOTH));
        table.offer(18, &Point::new("cur_current", "Integer", "{}", read_only));
        assert!(table.is_empty());
        assert_eq!(table.numbers(), [1, 18]);
        table.admit(18, &json("100"));
        let schema = table.schema("cz");
        assert!(schema.function("cur_current").is_none());
        assert!(schema.status("cur_current").is_some());
        assert!(schema.reading("switch_1").is_none());
    }

    #[test]
    fn a_name_is_kept_for_a_point_that_is_yet_to_come() {
        let mut table = PointTable::default();
        table.name(101, "fan").unwrap();
        assert_eq!(table.name(102, "fan"), Err(101));
        table.admit(101, &json("true"));
        assert_eq!(table.by_code("fan").unwrap().0, 101);
    }

    #[test]
    fn two_numbers_never_share_a_code() {
        let mut table = PointTable::default();
        table
            .declare(1, Point::new("dp_2", "Boolean", "{}", Access::BOTH))
            .unwrap();
        assert_eq!(
            table.declare(3, Point::new("dp_2", "Boolean", "{}", Access::BOTH)),
            Err(1)
        );
        table.admit(2, &json("1"));
        assert_eq!(table.point(2).unwrap().declared.code().as_str(), "dp_2_");
    }

    #[test]
    fn a_device_that_shows_without_end_fills_no_memory() {
        let mut table = PointTable::default();
        let admitted =
            (1..=60_000).filter(|number| table.admit(*number, &json("1")) == Admitted::New);
        assert_eq!(admitted.count(), POINTS_MAX);
    }
}
