//! Gateways and impostors on free loopback ports, for all tests of the crate.

use std::net::SocketAddr;
use std::time::Duration;

use hearthgate_client::Endpoint;
use hearthgate_diagnose::{KeyText, Options, Target};
use hearthgate_gateway::{DemoDriver, Gateway, GatewayOptions};
use hearthgate_protocol::crypto::DeviceKey;
use hearthgate_protocol::variants::{KeyForm, Variants, Wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const KEY: &str = "k9Xq2mPz7LwT4vRb";
pub(crate) const OTHER_KEY: &str = "anotherkey 12345";
pub(crate) const HEX_KEY: &str = "00112233445566778899aAbBcCdDeEfF";

/// How a gateway of a test differs from the defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) key_form: KeyForm,
    pub(crate) wire: Wire,
    pub(crate) variants: Variants,
    pub(crate) path: Option<&'static str>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            key: KEY,
            key_form: KeyForm::Ascii,
            wire: Wire::Binary,
            variants: Variants::default(),
            path: None,
        }
    }
}

/// Serves a simulated home until the runtime ends.
pub(crate) async fn gateway(setting: Setting) -> SocketAddr {
    let key = DeviceKey::parse(setting.key, setting.key_form).unwrap();
    let mut options = GatewayOptions::new("test-gateway", key);
    options.connection.wire = setting.wire;
    options.connection.variants = setting.variants;
    options.connection.path = setting.path.map(str::to_owned);
    let home = Box::new(DemoDriver::new(7));
    let gateway = Gateway::bind("127.0.0.1:0", options, vec![home])
        .await
        .unwrap();
    let address = gateway.local_addr();
    tokio::spawn(gateway.run());
    address
}

/// Makes options for a gateway, with short times.
pub(crate) fn options(address: SocketAddr) -> Options {
    let endpoint = Endpoint::new(&address.ip().to_string(), address.port()).unwrap();
    let key = KeyText::parse(KEY).unwrap();
    let mut options = Options::new(Target::Address(endpoint), key);
    options.timeout = Duration::from_secs(5);
    options.event_timeout = Duration::from_millis(50);
    options
}

/// Answers every connection by a script, until the runtime ends.
pub(crate) async fn impostor<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Waits for the first bytes, answers with these, and hangs up.
pub(crate) async fn says(stream: TcpStream, answer: &'static [u8]) {
    let mut stream = stream;
    let mut request = [0; 1024];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(answer).await;
}

/// Takes everything and says nothing.
pub(crate) async fn silence(stream: TcpStream) {
    let mut stream = stream;
    let mut buffer = [0; 1024];
    while matches!(stream.read(&mut buffer).await, Ok(size) if size > 0) {}
}
