//! Settings that two or more of the clients share: servers, network, retries, metadata.

use std::time::Duration;

use streamledger_client_core::window::WindowConfig;

use super::settings;
use crate::config::builder::ConfigBuilder;
use crate::config::resolve::Resolved;
use crate::config::spec::{
    ANY_LONG, CONSUMER_AND_ADMIN, EVERY_CLIENT, INT_FROM_0, INT_FROM_1, INT_MAX, LONG_FROM_0,
    PRODUCER_AND_ADMIN, SettingType,
};
use crate::config::value::{MetadataRecovery, ServerAddress};

settings! {
    /// Settings that two or more of the clients share.
    struct ClientSettings;
    setters [S] ConfigBuilder<S>;

    bootstrap_servers: Vec<ServerAddress>, set by &str,
    "bootstrap.servers", EVERY_CLIENT,
    SettingType::Grammar("list", "one or more host:port, separated by commas"),
    default required, High;
    does "The brokers to ask first for the rest of the cluster, as host:port with commas.";
    why "nobody else can know where your cluster is; two or three brokers survive the loss of one.";

    client_id: String, set by &str,
    "client.id", EVERY_CLIENT, SettingType::Text, default "", Medium;
    does "A name that the broker writes in its logs and counts quotas by.";
    why "an empty one goes out as streamledger; give your own as soon as you read broker logs.";

    request_timeout: Duration, set by Duration,
    "request.timeout.ms", EVERY_CLIENT, INT_FROM_0, default "30000", Medium;
    does "How long one request waits for its response before it counts as failed.";
    why "longer than a leader election and a broker's pause, shorter than anyone's patience.";

    default_api_timeout: Duration, set by Duration,
    "default.api.timeout.ms", CONSUMER_AND_ADMIN, INT_FROM_0, default "60000", Medium;
    does "How long a blocking call tries, over as many requests as that takes.";
    why "two full request timeouts: one broker may be away and the next still be asked.";

    retries: u32, set by u32,
    "retries", PRODUCER_AND_ADMIN, SettingType::Int(0, INT_MAX), default "2147483647", High;
    does "How often a request that failed for a passing reason is sent again.";
    why "time is the limit that means something: delivery.timeout.ms, or default.api.timeout.ms.";

    retry_backoff: Duration, set by Duration,
    "retry.backoff.ms", EVERY_CLIENT, LONG_FROM_0, default "100", Low;
    does "How long to wait before a failed request's first retry; it doubles with each (KIP-580).";
    why "an election takes about that long, and a broker in trouble is not asked in a loop.";

    retry_backoff_max: Duration, set by Duration,
    "retry.backoff.max.ms", EVERY_CLIENT, LONG_FROM_0, default "1000", Low;
    does "The longest wait between two retries; a random fifth is taken off or put on.";
    why "a broker that comes back is found within about a second.";

    metadata_max_age: Duration, set by Duration,
    "metadata.max.age.ms", EVERY_CLIENT, LONG_FROM_0, default "300000", Low;
    does "After how long the view of the cluster is renewed without any sign of change.";
    why "changes of leader are noticed by errors at once; this only finds new partitions.";

    metadata_recovery_strategy: MetadataRecovery, set by MetadataRecovery,
    "metadata.recovery.strategy", EVERY_CLIENT,
    SettingType::ChoiceAnyCase(&["rebootstrap", "none"]), default "rebootstrap", Low;
    does "What to do when no known broker answers: start from bootstrap.servers again, or not.";
    why "a cluster whose brokers were all replaced is found again (KIP-899).";

    metadata_recovery_rebootstrap_trigger: Duration, set by Duration,
    "metadata.recovery.rebootstrap.trigger.ms", EVERY_CLIENT, LONG_FROM_0, default "300000", Low;
    does "For how long metadata may fail to come before bootstrap.servers are asked (KIP-1102).";
    why "a rolling restart is over by then, so what still fails has moved.";

    reconnect_backoff: Duration, set by Duration,
    "reconnect.backoff.ms", EVERY_CLIENT, LONG_FROM_0, default "50", Low;
    does "How long to wait before connecting again to a broker that refused or went away.";
    why "short enough not to be felt, long enough not to spin.";

    reconnect_backoff_max: Duration, set by Duration,
    "reconnect.backoff.max.ms", EVERY_CLIENT, LONG_FROM_0, default "1000", Low;
    does "The longest wait before connecting again; it doubles with each failure up to here.";
    why "a returning broker is used within about a second, by clients spread out at random.";

    socket_connection_setup_timeout: Duration, set by Duration,
    "socket.connection.setup.timeout.ms", EVERY_CLIENT, ANY_LONG, default "10000", Medium;
    does "How long a connection may take to be set up, before the next address is tried.";
    why "past that the other side is gone, however far away it is.";

    socket_connection_setup_timeout_max: Duration, set by Duration,
    "socket.connection.setup.timeout.max.ms", EVERY_CLIENT, ANY_LONG, default "30000", Medium;
    does "The longest time for setting up a connection; it doubles with each failure up to here.";
    why "a network that drops packets gets more time, but never all of request.timeout.ms.";

    connections_max_idle: Option<Duration>, set by Option<Duration>,
    "connections.max.idle.ms", EVERY_CLIENT, ANY_LONG,
    default ("540000", "540000", "300000"), Medium;
    does "After how long without a request a connection is closed; never, if negative.";
    why "one minute before the broker's ten: the client closes first, so no request is lost.";

    send_buffer_bytes: Option<usize>, set by Option<usize>,
    "send.buffer.bytes", EVERY_CLIENT, SettingType::Int(-1, INT_MAX),
    default ("524288", "131072", "131072"), Medium;
    does "The size of the socket's send buffer (SO_SNDBUF); -1 leaves it to the system.";
    why "a producer's takes several batches in one go: with Kafka's 131072 a thread is woken for \
        every few. Use -1 over long distances.";

    receive_buffer_bytes: Option<usize>, set by Option<usize>,
    "receive.buffer.bytes", EVERY_CLIENT, SettingType::Int(-1, INT_MAX),
    default ("32768", "65536", "65536"), Medium;
    does "The size of the socket's receive buffer (SO_RCVBUF); -1 leaves it to the system.";
    why "a producer receives little; a consumer over long distances does better with -1.";

    enable_metrics_push: bool, set by bool,
    "enable.metrics.push", EVERY_CLIENT, SettingType::Boolean,
    default ("true", "true", "false"), Low;
    does "Whether metrics are pushed to the cluster if it asks for them (KIP-714).";
    why "whoever runs the cluster sees its clients; a cluster without a plug-in for it never asks.";

    metrics_sample_window: Duration, set by Duration,
    "metrics.sample.window.ms", EVERY_CLIENT, LONG_FROM_0, default "30000", Low;
    does "How long one sample of means, maxima and rates is.";
    why "half a minute evens out what a batch does.";

    metrics_num_samples: u32, set by u32,
    "metrics.num.samples", EVERY_CLIENT, INT_FROM_1, default "2", Low;
    does "How many samples means, maxima and rates are over.";
    why "one that is over and one that is running.";
}

impl ClientSettings {
    /// Over how much time means, maxima and rates are.
    pub(crate) fn metrics_window(&self) -> WindowConfig {
        WindowConfig { sample: self.metrics_sample_window, samples: self.metrics_num_samples }
    }

    /// Follows Kafka's `CommonClientConfigs.postProcessReconnectBackoffConfigs` and its kin: a wait
    /// that is set alone is constant, and none starts above its maximum.
    pub(crate) fn reconcile(&mut self, values: &mut Resolved) {
        if values.is_given("reconnect.backoff.ms") && !values.is_given("reconnect.backoff.max.ms") {
            self.reconnect_backoff_max = self.reconnect_backoff;
            values.adjust(
                "reconnect.backoff.max.ms",
                self.reconnect_backoff_max.as_millis().to_string(),
                "as reconnect.backoff.ms, which is set alone and so is constant",
            );
        }
        for (name, max_name, wait, wait_max) in [
            (
                "reconnect.backoff.ms",
                "reconnect.backoff.max.ms",
                &mut self.reconnect_backoff,
                self.reconnect_backoff_max,
            ),
            (
                "retry.backoff.ms",
                "retry.backoff.max.ms",
                &mut self.retry_backoff,
                self.retry_backoff_max,
            ),
            (
                "socket.connection.setup.timeout.ms",
                "socket.connection.setup.timeout.max.ms",
                &mut self.socket_connection_setup_timeout,
                self.socket_connection_setup_timeout_max,
            ),
        ] {
            if *wait <= wait_max {
                continue;
            }
            *wait = wait_max;
            let reason = format!("no longer than {max_name}");
            values.adjust(name, wait_max.as_millis().to_string(), &reason);
        }
    }
}
