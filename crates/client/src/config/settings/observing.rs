//! Settings of every client for metrics, plug-ins and names: Java's ways, which have no effect
//! here.

use super::settings_without_effect;
use crate::config::spec::{EVERY_CLIENT, PRODUCER_AND_CONSUMER, SettingType, Support, WhenSet};

settings_without_effect! {
    /// The rows.
    const SPECS;

    "metric.reporters", EVERY_CLIENT, SettingType::List,
    default "org.apache.kafka.common.metrics.JmxReporter", Low;
    does "Java classes that are told of each metric.";
    why "JMX is how Java programs are observed.";
    support METRICS;

    "auto.include.jmx.reporter", EVERY_CLIENT, SettingType::Boolean, default "true", Low;
    does "Whether JMX is told of metrics whatever metric.reporters says; gone with Kafka 4.0.";
    why "files of Kafka 3's clients may have it.";
    support METRICS;

    "metrics.recording.level", EVERY_CLIENT, SettingType::Choice(&["INFO", "DEBUG", "TRACE"]),
    default "INFO", Low;
    does "How many of Java's metrics are recorded.";
    why "the finer ones cost time on each record.";
    support METRICS;

    "interceptor.classes", PRODUCER_AND_CONSUMER, SettingType::List, default "", Low;
    does "Java classes that see, and may change, each record.";
    why "most programs need none.";
    support Support::Never(
        "a Java class can't run in this client, and leaving it out could change records",
        WhenSet::Refuse
    );

    "config.providers", EVERY_CLIENT, SettingType::List, default "", Low;
    does "Java classes that fill in the ${...} of other settings (KIP-297).";
    why "most files have none.";
    support Support::NotNeeded(
        "Kafka's own providers of files, directories and the environment are built in, and named \
         as in Java; another class stops the start, as it can't run here"
    );

    "client.dns.lookup", EVERY_CLIENT,
    SettingType::Choice(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]),
    default "use_all_dns_ips", Medium;
    does "Whether each address of a name is tried, or first turned into its canonical name.";
    why "a broker is reached by any address it has; canonical names matter to Kerberos only.";
    support Support::Never(
        "each address of a name is tried, as it is; canonical names matter to Kerberos only",
        WhenSet::Note
    );
}

const METRICS: Support = Support::Never(
    "metrics here are a snapshot in the program, with percentiles, and all there are",
    WhenSet::Note,
);
