//! The memory of an idle session is what its task holds and its future: it does not grow unseen.

use std::net::SocketAddr;
use std::sync::Arc;

use hearthgate_protocol::connection::GatewayConnection;
use tokio::net::TcpStream;

use crate::listener::{Admission, Permit};
use crate::registry::Registry;
use crate::session::{Shared, serve};

/// Bytes. It is 1552 on 64 bits; the rest is for what a compiler or a runtime adds one day.
const BOUND: usize = 1664;

/// Returns the size of what a function returns, without calling it.
fn size_of_future<F>(
    _: impl FnOnce(TcpStream, SocketAddr, GatewayConnection, Registry, Arc<Admission>, Permit) -> F,
) -> usize {
    size_of::<F>()
}

#[test]
fn a_session_is_small() {
    let size = size_of_future(serve::<TcpStream>) + size_of::<Shared<TcpStream>>();
    let connection = size_of::<GatewayConnection>();
    assert!(
        size <= BOUND,
        "a session takes {size} bytes, {connection} of them its connection"
    );
}
