//! A bug in one session: it ends, the others do not notice.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{number, secs};
use crate::testing::peer::Peer;
use crate::testing::{TestGateway, device, state};

/// A stream that panics when it is written to, once it is told to.
struct Trap {
    stream: DuplexStream,
    set: Arc<AtomicBool>,
}

impl AsyncRead for Trap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Trap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        assert!(!self.set.load(Ordering::Relaxed), "the bug of this test");
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_with_a_bug_ends_and_the_others_get_their_events() {
    let gateway = TestGateway::start(vec![device("a")]);
    let mut before = gateway.client().await;
    let set = Arc::new(AtomicBool::new(false));
    let (stream, theirs) = tokio::io::duplex(64 * 1024);
    let trap = Trap {
        stream,
        set: Arc::clone(&set),
    };
    let session = gateway.serve(trap, "192.0.2.1");
    let _theirs = Peer::connected(theirs).await;
    let mut after = gateway.client().await;
    set.store(true, Ordering::Relaxed);
    for count in 1..=3 {
        gateway.report(state("a", "temp", count)).await;
        for client in [&mut before, &mut after] {
            let event = tokio::time::timeout(secs(5), client.event()).await;
            assert_eq!(number(&event.unwrap()), count);
        }
    }
    tokio::time::timeout(secs(5), session)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(gateway.admission.sessions(), 2);
}
