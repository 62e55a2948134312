//! The workloads of all benchmarks of small parts: no process, no socket, no clock, the same bytes on
//! every run. `micro` times them, `instructions` counts them, `compare` puts two of them into its table.
//!
//! Each is made once (which is never measured) and then run as often as one likes. What is measured is
//! reached by the crates' public paths alone.

pub(crate) mod answers;
pub(crate) mod house;
pub(crate) mod link;
pub(crate) mod messages;
pub(crate) mod ratio;
pub(crate) mod sessions;
