//! One connection to the broker, in MQTT 5 or 3.1.1: the only place that knows `rumqttc`.
//!
//! Input are [`Order`]s from `bridge`; output is the [`News`] of the broker. A connection is made once:
//! after [`News::Down`] nothing of it is left, and nothing that waited in it is sent later. Whoever wants
//! another one opens it, and says everything again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes as five;
use rumqttc::{TlsConfiguration, Transport};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::options::{MqttOptions, MqttVersion, Qos};
use crate::tls::{self, TlsError};

/// Orders that wait. When it is full the bridge keeps what it has to say for itself, the newest alone.
const ORDERS: usize = 64;
/// News that wait. When it is full nothing is read from the broker until the bridge has read on.
const NEWS: usize = 256;
/// Requests between us and `rumqttc`, with the same consequence as [`ORDERS`].
const REQUESTS: usize = 16;
/// Messages that the broker has not acknowledged yet, at most.
const IN_FLIGHT: u16 = 100;
/// After how much silence the broker is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The time from the start of connecting to the broker's consent, and that in which a connection that
/// is closed gets its last messages out.
const CONNECT: Duration = Duration::from_secs(5);
const FAREWELL: Duration = Duration::from_millis(1200);
/// The largest message in either direction.
const PACKET_MAX: u32 = 16 * 1024 * 1024;

/// What the bridge wants of the broker.
#[derive(Debug)]
pub(crate) enum Order {
    /// Publish this, as surely as the options say.
    Publish(Publish),
    /// Listen to these.
    Subscribe(Vec<String>),
    /// Listen to these, at most once: of what is to be acknowledged, brokers hold only so many messages for
    /// us (Mosquitto 1000) and drop the rest of what they keep without a word.
    Look(Vec<String>),
    /// Listen to these no more.
    Unsubscribe(Vec<String>),
    /// Say goodbye, once all orders before are carried out.
    Close,
}

/// A message to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retain: bool,
    /// What the answered message had (MQTT 5).
    pub(crate) correlation: Option<Bytes>,
}

/// What the broker does.
#[derive(Debug)]
pub(crate) enum News {
    /// It took us.
    Up,
    /// A message.
    Message(Message),
    /// The connection is over, or was never made. Nothing follows.
    Down(BrokerError),
}

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    /// Whether it is what the broker kept, not what happens now.
    pub(crate) retained: bool,
    pub(crate) correlation: Option<Bytes>,
}

/// Why there is no connection to the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    /// The broker refused us.
    #[error("the broker {broker} refuses us ({reason}): check user name, password and rights")]
    Refused { broker: String, reason: String },
    /// Another client took our id.
    #[error(
        "another client has taken the client id {client_id} at the broker {broker}: is there another hub with the same id?"
    )]
    TakenOver { broker: String, client_id: String },
    /// TLS failed.
    #[error("no TLS with the broker {broker}: {problem}")]
    Tls { broker: String, problem: String },
    /// Anything else.
    #[error("no connection to the broker {broker}: {problem}")]
    Lost { broker: String, problem: String },
}

/// How to connect, again and again. `Debug` shows no secret.
pub(crate) struct Broker {
    options: MqttOptions,
    client_id: String,
    will_topic: String,
    transport: Transport,
}

/// One connection. Dropping it ends it without a goodbye.
pub(crate) struct Connection {
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) news: mpsc::Receiver<News>,
    task: tokio::task::JoinHandle<()>,
}

impl Broker {
    /// Prepares connections; `will_topic` is where `offline` is published, retained, when one ends
    /// without a goodbye.
    pub(crate) fn new(options: MqttOptions, will_topic: String) -> Result<Self, TlsError> {
        let transport = if options.broker.tls {
            let config = tls::config(&options.tls)?;
            Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config)))
        } else {
            Transport::tcp()
        };
        Ok(Self {
            client_id: options.client_id.clone().unwrap_or_default(),
            options,
            will_topic,
            transport,
        })
    }

    /// Takes the id under which the broker knows us.
    pub(crate) fn set_client_id(&mut self, client_id: &str) {
        client_id.clone_into(&mut self.client_id);
    }

    /// Begins a connection; the news tell what becomes of it.
    pub(crate) fn connect(&self) -> Connection {
        let (orders, order_receiver) = mpsc::channel(ORDERS);
        let (news_sender, news) = mpsc::channel(NEWS);
        let qos = self.options.qos;
        let (client, events) = match self.options.version {
            MqttVersion::V5 => self.version_5(),
            MqttVersion::V311 => self.version_3(),
        };
        let errors = Errors {
            broker: self.options.broker.to_string(),
            client_id: self.client_id.clone(),
        };
        let task = tokio::spawn(run(
            client,
            qos,
            events,
            errors,
            order_receiver,
            news_sender,
        ));
        Connection { orders, news, task }
    }

    fn host(&self) -> &str {
        let host = self.options.broker.host.as_str();
        if self.options.broker.tls {
            // As certificates have it.
            host.trim_start_matches('[').trim_end_matches(']')
        } else {
            host
        }
    }

    fn version_5(&self) -> (Client, Events) {
        let broker = &self.options.broker;
        let mut options = rumqttc::v5::MqttOptions::new(&self.client_id, self.host(), broker.port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_start(true);
        options.set_connection_timeout(CONNECT.as_secs());
        options.set_outgoing_inflight_upper_limit(IN_FLIGHT);
        options.set_max_packet_size(Some(PACKET_MAX));
        options.set_transport(self.transport.clone());
        options.set_last_will(five::v5::LastWill::new(
            &self.will_topic,
            "offline",
            five_qos(self.options.qos),
            true,
            None,
        ));
        if let Some(user) = &broker.user {
            let password = broker
                .password
                .as_ref()
                .map_or("", |secret| secret.expose());
            options.set_credentials(user, password);
        }
        let (client, events) = rumqttc::v5::AsyncClient::new(options, REQUESTS);
        (Client::Five(client), Events::Five(Box::new(events)))
    }

    fn version_3(&self) -> (Client, Events) {
        let broker = &self.options.broker;
        let mut options = rumqttc::MqttOptions::new(&self.client_id, self.host(), broker.port);
        let packet_max = PACKET_MAX as usize;
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_session(true);
        options.set_inflight(IN_FLIGHT);
        options.set_max_packet_size(packet_max, packet_max);
        options.set_transport(self.transport.clone());
        options.set_last_will(rumqttc::LastWill::new(
            &self.will_topic,
            "offline",
            three_qos(self.options.qos),
            true,
        ));
        if let Some(user) = &broker.user {
            let password = broker
                .password
                .as_ref()
                .map_or("", |secret| secret.expose());
            options.set_credentials(user, password);
        }
        let (client, mut events) = rumqttc::AsyncClient::new(options, REQUESTS);
        let mut network = rumqttc::NetworkOptions::new();
        network.set_connection_timeout(CONNECT.as_secs());
        events.set_network_options(network);
        (Client::Three(client), Events::Three(Box::new(events)))
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Broker");
        shown
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Says goodbye and waits until the broker has everything, 1.2 s at most.
    pub(crate) async fn close(mut self) {
        let farewell = async {
            // Whoever is gone needs no goodbye.
            let _ = self.orders.send(Order::Close).await;
            while self.news.recv().await.is_some() {}
        };
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("the broker did not take the goodbye in time");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

enum Client {
    Five(rumqttc::v5::AsyncClient),
    Three(rumqttc::AsyncClient),
}

enum Events {
    Five(Box<rumqttc::v5::EventLoop>),
    Three(Box<rumqttc::EventLoop>),
}

/// What a poll of the library brought.
enum Polled {
    /// The broker took us, and the largest message that it takes.
    Up(Option<u32>),
    Message(Message),
    Closed,
    Other,
}

/// The names that errors need.
struct Errors {
    broker: String,
    client_id: String,
}

async fn run(
    client: Client,
    qos: Qos,
    mut events: Events,
    errors: Errors,
    mut orders: mpsc::Receiver<Order>,
    news: mpsc::Sender<News>,
) {
    let largest = std::sync::atomic::AtomicU32::new(PACKET_MAX);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let carry_out = async {
        while let Some(order) = orders.recv().await {
            if let Order::Publish(publish) = &order {
                // A message that the broker does not take would end the connection, again and again.
                let size = publish.payload.len() + publish.topic.len() + 64;
                if size > largest.load(relaxed) as usize {
                    let topic = &publish.topic;
                    tracing::warn!(
                        "a message of {size} bytes for {topic} is larger than the broker takes: not sent"
                    );
                    continue;
                }
            }
            if !client.carry_out(order, qos).await {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let listen = async {
        loop {
            let item = match events.poll(&errors).await {
                Ok(Polled::Up(limit)) => {
                    largest.store(limit.unwrap_or(PACKET_MAX).min(PACKET_MAX), relaxed);
                    News::Up
                }
                Ok(Polled::Message(message)) => News::Message(message),
                Ok(Polled::Other) => continue,
                Ok(Polled::Closed) => return,
                Err(error) => News::Down(error),
            };
            let over = matches!(item, News::Down(_));
            if news.send(item).await.is_err() || over {
                return;
            }
        }
    };
    tokio::select! {
        () = carry_out => {}
        () = listen => {}
    }
}

fn five_qos(qos: Qos) -> five::QoS {
    match qos {
        Qos::AtMostOnce => five::QoS::AtMostOnce,
        Qos::AtLeastOnce => five::QoS::AtLeastOnce,
    }
}

fn three_qos(qos: Qos) -> rumqttc::QoS {
    match qos {
        Qos::AtMostOnce => rumqttc::QoS::AtMostOnce,
        Qos::AtLeastOnce => rumqttc::QoS::AtLeastOnce,
    }
}

impl Client {
    /// Hands an order over; tells whether there is anybody to take it.
    async fn carry_out(&self, order: Order, qos: Qos) -> bool {
        match (self, order) {
            (Self::Five(client), Order::Publish(publish)) => {
                let qos = five_qos(qos);
                let properties = five::v5::PublishProperties {
                    correlation_data: publish.correlation,
                    ..five::v5::PublishProperties::default()
                };
                let Publish {
                    topic,
                    payload,
                    retain,
                    ..
                } = publish;
                client
                    .publish_with_properties(topic, qos, retain, payload, properties)
                    .await
                    .is_ok()
            }
            (
                Self::Three(client),
                Order::Publish(Publish {
                    topic,
                    payload,
                    retain,
                    ..
                }),
            ) => {
                let qos = three_qos(qos);
                client.publish(topic, qos, retain, payload).await.is_ok()
            }
            (Self::Five(client), Order::Subscribe(filters)) => {
                let filter = |path| five::v5::Filter::new(path, five::QoS::AtLeastOnce);
                client
                    .subscribe_many(filters.into_iter().map(filter))
                    .await
                    .is_ok()
            }
            (Self::Three(client), Order::Subscribe(filters)) => {
                let filter = |path| rumqttc::SubscribeFilter::new(path, rumqttc::QoS::AtLeastOnce);
                client
                    .subscribe_many(filters.into_iter().map(filter))
                    .await
                    .is_ok()
            }
            (Self::Five(client), Order::Look(filters)) => {
                let filter = |path| five::v5::Filter::new(path, five::QoS::AtMostOnce);
                client
                    .subscribe_many(filters.into_iter().map(filter))
                    .await
                    .is_ok()
            }
            (Self::Three(client), Order::Look(filters)) => {
                let filter = |path| rumqttc::SubscribeFilter::new(path, rumqttc::QoS::AtMostOnce);
                client
                    .subscribe_many(filters.into_iter().map(filter))
                    .await
                    .is_ok()
            }
            (Self::Five(client), Order::Unsubscribe(filters)) => {
                for filter in filters {
                    if client.unsubscribe(filter).await.is_err() {
                        return false;
                    }
                }
                true
            }
            (Self::Three(client), Order::Unsubscribe(filters)) => {
                for filter in filters {
                    if client.unsubscribe(filter).await.is_err() {
                        return false;
                    }
                }
                true
            }
            (Self::Five(client), Order::Close) => client.disconnect().await.is_ok(),
            (Self::Three(client), Order::Close) => client.disconnect().await.is_ok(),
        }
    }
}

impl Events {
    async fn poll(&mut self, errors: &Errors) -> Result<Polled, BrokerError> {
        match self {
            Self::Five(events) => match events.poll().await {
                Ok(rumqttc::v5::Event::Incoming(packet)) => Ok(match packet {
                    five::v5::Packet::ConnAck(ack) => Polled::Up(
                        ack.properties
                            .and_then(|properties| properties.max_packet_size),
                    ),
                    five::v5::Packet::Publish(publish) => Polled::Message(Message {
                        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                        payload: publish.payload,
                        retained: publish.retain,
                        correlation: publish.properties.and_then(|it| it.correlation_data),
                    }),
                    _ => Polled::Other,
                }),
                Ok(rumqttc::v5::Event::Outgoing(rumqttc::Outgoing::Disconnect)) => {
                    Ok(Polled::Closed)
                }
                Ok(rumqttc::v5::Event::Outgoing(_)) => Ok(Polled::Other),
                Err(error) => Err(errors.of_version_5(&error)),
            },
            Self::Three(events) => match events.poll().await {
                Ok(rumqttc::Event::Incoming(packet)) => Ok(match packet {
                    rumqttc::Packet::ConnAck(_) => Polled::Up(None),
                    rumqttc::Packet::Publish(publish) => Polled::Message(Message {
                        topic: publish.topic,
                        payload: publish.payload,
                        retained: publish.retain,
                        correlation: None,
                    }),
                    _ => Polled::Other,
                }),
                Ok(rumqttc::Event::Outgoing(rumqttc::Outgoing::Disconnect)) => Ok(Polled::Closed),
                Ok(rumqttc::Event::Outgoing(_)) => Ok(Polled::Other),
                Err(error) => Err(errors.of_version_3(&error)),
            },
        }
    }
}

impl Errors {
    fn of_version_5(&self, error: &rumqttc::v5::ConnectionError) -> BrokerError {
        use five::v5::DisconnectReasonCode;
        use rumqttc::v5::{ConnectionError, StateError};
        match error {
            ConnectionError::ConnectionRefused(reason)
            | ConnectionError::MqttState(StateError::ConnFail { reason }) => {
                self.refused(format!("{reason:?}"))
            }
            ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code: DisconnectReasonCode::SessionTakenOver,
                ..
            }) => BrokerError::TakenOver {
                broker: self.broker.clone(),
                client_id: self.client_id.clone(),
            },
            ConnectionError::Tls(error) => self.tls(error),
            ConnectionError::Timeout(_) => self.lost("no answer in time"),
            other => self.lost(other),
        }
    }

    fn of_version_3(&self, error: &rumqttc::ConnectionError) -> BrokerError {
        use rumqttc::ConnectionError;
        match error {
            ConnectionError::ConnectionRefused(reason) => self.refused(format!("{reason:?}")),
            ConnectionError::Tls(error) => self.tls(error),
            ConnectionError::NetworkTimeout => self.lost("no answer in time"),
            other => self.lost(other),
        }
    }

    fn refused(&self, reason: String) -> BrokerError {
        BrokerError::Refused {
            broker: self.broker.clone(),
            reason,
        }
    }

    /// The library wraps TLS and the socket beneath it in one error.
    fn tls(&self, error: &rumqttc::TlsError) -> BrokerError {
        match error {
            rumqttc::TlsError::Io(error) if error.get_ref().is_none() => self.lost(error),
            error => BrokerError::Tls {
                broker: self.broker.clone(),
                problem: error.to_string(),
            },
        }
    }

    fn lost(&self, problem: impl fmt::Display) -> BrokerError {
        BrokerError::Lost {
            broker: self.broker.clone(),
            problem: problem.to_string(),
        }
    }
}
