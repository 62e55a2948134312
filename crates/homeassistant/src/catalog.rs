//! What is known about categories and codes. See [`Catalog`].

/// What is known about categories and codes: rules that make entities of data points.
#[derive(Clone, Debug, Default)]
pub struct Catalog {}

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
    /// Returns the catalog that is built in; parsed once.
    pub fn builtin() -> &'static Self {
        static BUILTIN: std::sync::LazyLock<Catalog> = std::sync::LazyLock::new(Catalog::default);
        &BUILTIN
    }
}
