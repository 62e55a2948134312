//! Schemas that devices of a kind have in common, held once: a home of thousands has some dozens of kinds.
//!
//! Used by `round` as it reads schemas; it ends with the round, the schemas live on in the devices.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hearthgate_protocol::model::Schema;

/// Schemas of one category and length that are compared with. Where there are more, the oldest is
/// forgotten: some are held twice then, and no gateway makes this slow.
const COMPARED: usize = 16;

/// The schemas of a round. Bounded by the devices that it reads.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    /// By category and number of data points.
    known: HashMap<(Box<str>, usize), VecDeque<Arc<Schema>>>,
}

impl Kinds {
    /// Returns an equal schema that is held already, `before` (what the device had so far) above all, or
    /// this one.
    pub(super) fn share(&mut self, schema: Schema, before: Option<&Arc<Schema>>) -> Arc<Schema> {
        let before = before.filter(|before| ***before == schema);
        let points = schema.functions().len() + schema.statuses().len();
        let alike = self.known.entry((schema.category().into(), points));
        let alike = alike.or_default();
        if let Some(held) = alike.iter().find(|held| ***held == schema) {
            return Arc::clone(before.unwrap_or(held));
        }
        let shared = before.map_or_else(|| Arc::new(schema), Arc::clone);
        if alike.len() == COMPARED {
            alike.pop_front();
        }
        alike.push_back(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use hearthgate_protocol::model::{DataPoint, Value};

    use super::*;

    fn schema(category: &str, code: &str) -> Schema {
        let point = DataPoint::new(code, "Boolean", Value::from("{}"));
        Schema::new(category, vec![point], Vec::new())
    }

    #[test]
    fn equal_schemas_become_one_and_others_do_not() {
        let mut kinds = Kinds::default();
        let first = kinds.share(schema("kg", "a"), None);
        assert!(Arc::ptr_eq(&first, &kinds.share(schema("kg", "a"), None)));
        for other in [schema("kg", "b"), schema("cz", "a")] {
            let held = kinds.share(other.clone(), None);
            assert_eq!(*held, other);
        }
        assert!(Arc::ptr_eq(&first, &kinds.share(schema("kg", "a"), None)));
    }

    #[test]
    fn a_device_keeps_the_schema_that_it_has() {
        let mut kinds = Kinds::default();
        let (had, other) = (Arc::new(schema("kg", "a")), Arc::new(schema("kg", "b")));
        assert!(Arc::ptr_eq(
            &had,
            &kinds.share(schema("kg", "a"), Some(&had))
        ));
        // Whoever comes new shares it.
        assert!(Arc::ptr_eq(&had, &kinds.share(schema("kg", "a"), None)));
        let changed = kinds.share(schema("kg", "a"), Some(&other));
        assert!(Arc::ptr_eq(&had, &changed));
    }

    #[test]
    fn many_that_differ_are_bounded() {
        let mut kinds = Kinds::default();
        for number in 0..1000 {
            let code = number.to_string();
            assert_eq!(*kinds.share(schema("kg", &code), None), schema("kg", &code));
        }
        let most = kinds.known.values().map(VecDeque::len).max();
        assert_eq!(most, Some(COMPARED));
    }
}
