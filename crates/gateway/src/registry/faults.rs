//! What is wrong with a request, gathered for the one error that says so.

use hearthgate_protocol::wire::{ErrorBody, ErrorDetail};

/// Details that an error lists. A request of a megabyte can be wrong in a hundred thousand places, and
/// nobody reads them all.
const DETAILS_MAX: usize = 1000;

/// Faults in the order in which they were found: the first [`DETAILS_MAX`], and how many there are.
#[derive(Debug, Default)]
pub(super) struct Faults {
    details: Vec<ErrorDetail>,
    more: usize,
}

impl Faults {
    /// Adds one; it is not even made where there are enough.
    pub(super) fn push(&mut self, fault: impl FnOnce() -> ErrorDetail) {
        if self.details.len() < DETAILS_MAX {
            self.details.push(fault());
        } else {
            self.more += 1;
        }
    }

    /// Returns the error that tells of all of them; `None` where there are none. Code and message are
    /// those of the first (section 5).
    pub(super) fn into_error(self) -> Option<ErrorBody> {
        let mut error = ErrorBody::from_details(self.details)?;
        if self.more > 0 {
            let more = self.more;
            error.message = format!(
                "{}; {more} more faults than the {DETAILS_MAX} in details",
                error.message
            );
        }
        Some(error)
    }
}
