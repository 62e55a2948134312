//! Every number of the protocol in one place.
//!
//! Sources are the sections of the protocol description; sizes are bytes of JSON after decryption
//! unless said otherwise.

use std::time::Duration;

/// The WebSocket port where none is given (section 3).
pub const DEFAULT_PORT: u16 = 8433;
/// The UDP port of our own advertisement (section 7).
pub const BEACON_PORT: u16 = 6669;
/// The vendor's UDP port for plain LAN broadcast frames (section 7).
pub const BEACON_PORT_VENDOR_PLAIN: u16 = 6666;
/// The vendor's UDP port for encrypted LAN broadcast frames (section 7).
pub const BEACON_PORT_VENDOR_ENCRYPTED: u16 = 6667;
/// The time between two advertisements (section 7).
pub const BEACON_INTERVAL: Duration = Duration::from_secs(5);
/// The largest UDP packet that is looked at as an advertisement.
pub const BEACON_PACKET_MAX: usize = 2048;
/// The longest gateway uuid, in characters (section 7).
pub const UUID_MAX: usize = 64;

/// The time from the TCP connection to `auth_ok` (section 4).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message either side takes before `auth_ok` (section 3).
pub const MESSAGE_MAX_BEFORE_AUTH: usize = 4 * 1024;
/// The largest message a gateway takes after `auth_ok` (section 3).
pub const MESSAGE_MAX_GATEWAY: usize = 1024 * 1024;
/// The largest message a client takes after `auth_ok` (section 3).
pub const MESSAGE_MAX_CLIENT: usize = 64 * 1024 * 1024;
/// The largest answer a gateway sends (section 3).
pub const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// The deepest nesting of JSON arrays and objects in a message (section 3).
pub const JSON_DEPTH_MAX: usize = 64;
/// The largest HTTP request or response head of the WebSocket upgrade.
pub const UPGRADE_HEAD_MAX: usize = 8 * 1024;
/// The most header lines of the WebSocket upgrade.
pub const UPGRADE_HEADERS_MAX: usize = 64;

/// Silence after which either side pings (section 3).
pub const KEEPALIVE_PING: Duration = Duration::from_secs(15);
/// Silence after which a client asks something trivial, for gateways that answer no ping.
pub const KEEPALIVE_REQUEST: Duration = Duration::from_secs(30);
/// Silence after which either side gives the connection up (section 3).
pub const KEEPALIVE_DEAD: Duration = Duration::from_secs(45);

/// The time in which a gateway answers a request (section 5).
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The time a client waits for an answer (section 5).
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one session in flight at which a gateway stops reading from it (section 5).
pub const REQUESTS_IN_FLIGHT: usize = 256;
/// Devices that our client names in one `get_schema` or `get_status` (section 3).
pub const DEVICES_PER_REQUEST: usize = 100;

/// Bytes behind at which the events of a session are merged (section 6).
pub const SLOW_SESSION_MERGE: usize = 256 * 1024;
/// Bytes behind at which a session is closed (section 6).
pub const SLOW_SESSION_CLOSE: usize = 1024 * 1024;
/// Time behind after which a session is closed (section 6).
pub const SLOW_SESSION_TIME: Duration = Duration::from_secs(10);

/// Failed handshakes of one address that are answered at once (section 4).
pub const THROTTLE_FREE_FAILURES: u32 = 20;
/// The time in which those failures are counted (section 4).
pub const THROTTLE_WINDOW: Duration = Duration::from_secs(60);
/// The first delay of the answer to a failed handshake (section 4).
pub const THROTTLE_FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest delay of the answer to a failed handshake (section 4).
pub const THROTTLE_MAX_DELAY: Duration = Duration::from_secs(30);
/// The port of a gateway's token endpoint where none is given (section 8).
pub const TOKEN_PORT: u16 = 443;
/// The largest answer of a token endpoint that a client takes, HTTP head included.
pub const TOKEN_ANSWER_MAX: usize = 64 * 1024;
/// The time for which our gateway's access tokens hold (section 8).
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(2 * 60 * 60);
/// Pairs of tokens that our gateway remembers; where there are more, the oldest is forgotten.
pub const TOKENS_MAX: usize = 256;

/// Sessions in all, and by default of one address (section 4).
pub const SESSIONS_MAX: usize = 4096;
