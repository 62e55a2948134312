//! Serves the page of a hub that follows a file of known gateways: what `hearthgate hub` does, without anything
//! beside it. For tests of the page, and for trying it.
//!
//! ```console
//! $ cargo run -p hearthgate-web --example page -- 127.0.0.1:0 gateways.toml
//! ```

use std::path::PathBuf;

use hearthgate_hub::{Hub, HubOptions};
use hearthgate_web::{GatewayAccess, Web, WebOptions};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: page ADDR:PORT GATEWAYS.TOML";
    let listen = arguments.next().ok_or(usage)?.parse()?;
    let file = PathBuf::from(arguments.next().ok_or(usage)?);
    let hub = Hub::start(HubOptions {
        discovery: None,
        ..HubOptions::default()
    });
    hub.follow(&file, None)?;
    let options = WebOptions {
        access: GatewayAccess::directory(&file, Default::default()),
        value_metrics: true,
        ..WebOptions::new(listen)
    };
    let web = Web::bind(hub.clone(), options).await?;
    #[expect(clippy::print_stderr, reason = "an example says where it is")]
    {
        eprintln!("the page is on {}", web.url());
    }
    let stop = CancellationToken::new();
    web.run(stop).await;
    Ok(())
}
