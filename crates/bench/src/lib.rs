//! Load on gateways and hubs, and what it tells.
//!
//! The library is what `hearthgate bench` runs: it loads a gateway that anybody points it at, within
//! bounds of time and count. `benches/` holds what is compared within one run: small parts of the
//! code (`micro`), and whole processes against others that do the same (`compare`).
