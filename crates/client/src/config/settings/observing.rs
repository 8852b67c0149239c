//! Settings of every client for metrics, plug-ins and names: Java's ways, which have no effect
//! here.

use super::settings_without_effect;
use crate::config::spec::{
    EVERY_CLIENT, INT_FROM_1, LONG_FROM_0, PRODUCER_AND_CONSUMER, SettingType, Support, WhenSet,
};

settings_without_effect! {
    /// The rows.
    const SPECS;

    "metric.reporters", EVERY_CLIENT, SettingType::List,
    default "org.apache.kafka.common.metrics.JmxReporter", Low;
    does "Java classes that are told of each metric.";
    why "JMX is how Java programs are observed.";
    support METRICS;

    "metrics.num.samples", EVERY_CLIENT, INT_FROM_1, default "2", Low;
    does "Over how many windows Java's averages and rates are taken.";
    why "one window that is over and one that is running.";
    support METRICS;

    "metrics.sample.window.ms", EVERY_CLIENT, LONG_FROM_0, default "30000", Low;
    does "How long one window of Java's averages and rates is.";
    why "half a minute evens out what a batch does.";
    support METRICS;

    "metrics.recording.level", EVERY_CLIENT, SettingType::Choice(&["INFO", "DEBUG", "TRACE"]),
    default "INFO", Low;
    does "How many of Java's metrics are recorded.";
    why "the finer ones cost time on each record.";
    support METRICS;

    "enable.metrics.push", EVERY_CLIENT, SettingType::Boolean,
    default ("true", "true", "false"), Low;
    does "Whether metrics are sent to the broker if it asks for them (KIP-714).";
    why "whoever runs the cluster sees its clients.";
    support Support::NotYet("nothing is sent to the broker but what the work needs", WhenSet::Note);

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
    support Support::NotYet(
        "a Java class can't run in this client, so its ${...} would stay as they are",
        WhenSet::Refuse
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
    "metrics here are a snapshot in the program, with percentiles; nothing has to be set",
    WhenSet::Note,
);
