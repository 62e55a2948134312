//! What is known about categories and codes. Input are the files of `catalog/`, built in; `mapping`
//! asks for the rules of a category. See [`Catalog`].

mod file;
mod rule;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub(crate) use file::line_of;
pub(crate) use rule::{Reason, Rule};

/// The files of the catalog: name and text.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/catalog_files.rs"));

/// The file whose rules hold in every category.
const DEFAULTS: &str = "_defaults.toml";

/// What is known about categories and codes: rules that make entities of data points.
///
/// A clone is cheap: it shares what the files hold.
#[derive(Clone, Debug, Default)]
pub struct Catalog(Arc<Contents>);

#[derive(Debug, Default)]
struct Contents {
    categories: BTreeMap<String, CategoryRules>,
    names: BTreeMap<String, String>,
    defaults: Vec<Rule>,
    roles: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    words: BTreeMap<String, BTreeMap<String, String>>,
    reasons: Vec<Reason>,
}

#[derive(Debug, Default)]
struct CategoryRules {
    name: String,
    rules: Vec<Rule>,
}

/// A fault in a catalog file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct CatalogError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: String,
}

impl Catalog {
    /// Returns the catalog that is built in; parsed once, on first use.
    ///
    /// # Panics
    /// Never: the crate's tests read every file that is built in.
    #[expect(
        clippy::expect_used,
        reason = "the text is the program's own and tests read all of it"
    )]
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Catalog> = LazyLock::new(|| {
            Catalog::parse(FILES).expect("a catalog file that is built in is faulty")
        });
        &BUILTIN
    }

    /// Returns the files that are built in: name and text.
    pub fn files() -> &'static [(&'static str, &'static str)] {
        FILES
    }

    /// Parses a catalog from its files: name and text.
    ///
    /// # Errors
    /// The first fault, with file and line: what is no TOML, an unknown key, a platform or device
    /// class that Home Assistant does not know, a unit or state class that does not go with it.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let mut catalog = Contents::default();
        for (name, text) in files {
            if *name == DEFAULTS {
                let file = file::defaults(name, text)?;
                catalog.names = file.names;
                catalog.defaults = file.rules;
                catalog.roles = file.roles;
                catalog.words = file.words;
                catalog.reasons = file.reasons;
            } else {
                let file = file::category(name, text)?;
                let rules = CategoryRules {
                    name: file.name,
                    rules: file.rules,
                };
                catalog.categories.insert(file.category, rules);
            }
        }
        Ok(Self(Arc::new(catalog)))
    }

    /// Returns the categories that have a file, in alphabetical order: code and English name.
    pub fn categories(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .categories
            .iter()
            .map(|(code, rules)| (code.as_str(), rules.name.as_str()))
    }

    /// Returns the English name of a category, such as `Socket` for `cz`.
    pub fn name(&self, category: &str) -> Option<&str> {
        match self.0.categories.get(category) {
            Some(rules) => Some(&rules.name),
            None => self.0.names.get(category).map(String::as_str),
        }
    }

    /// Returns the rules of a category's own file.
    pub(crate) fn rules(&self, category: &str) -> &[Rule] {
        self.0
            .categories
            .get(category)
            .map_or(&[], |rules| &rules.rules)
    }

    /// Returns the rules for codes that mean the same everywhere.
    pub(crate) fn defaults(&self) -> &[Rule] {
        &self.0.defaults
    }

    /// Returns the codes that can play a part in an entity: those of its rule, else the usual ones.
    pub(crate) fn role<'a>(&'a self, rule: &'a Rule, role: &str) -> &'a [String] {
        rule.roles
            .get(role)
            .or_else(|| {
                // A light or a cover has no part that its rule does not name: another lamp's
                // brightness is not its own.
                let tied = matches!(rule.platform.name(), "light") && !rule.roles.is_empty();
                let usual = self.0.roles.get(rule.platform.name())?;
                (!tied).then(|| usual.get(role)).flatten()
            })
            .map_or(&[], Vec::as_slice)
    }

    /// Tells whether a code says in which scale a thermostat counts.
    pub(crate) fn is_scale(&self, code: &str) -> bool {
        let codes = self
            .0
            .roles
            .get("climate")
            .and_then(|roles| roles.get("scale"));
        codes.is_some_and(|codes| codes.iter().any(|known| known == code))
    }

    /// Returns what a word of the vendor means.
    pub(crate) fn word(&self, table: &str, word: &str) -> Option<&str> {
        Some(self.0.words.get(table)?.get(word)?.as_str())
    }

    /// Returns the words of a table: the vendor's and what it means.
    pub(crate) fn words(&self, table: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .words
            .get(table)
            .into_iter()
            .flatten()
            .map(|(word, meaning)| (word.as_str(), meaning.as_str()))
    }

    /// Returns why the catalog differs from Home Assistant's integration.
    pub(crate) fn reasons(&self) -> &[Reason] {
        &self.0.reasons
    }
}
