//! The page of the broker's settings is written from the tables, and is current.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::path::Path;

use streamledger_broker_core::config::{
    BROKER_CONFIGS, ConfigSpec, GROUP_CONFIGS, GroupConfigSpec, NO_EFFECT, SECURITY_CONFIGS,
    Support, TOPIC_CONFIGS, is_dynamic,
};

fn page() -> String {
    let mut page = String::from(
        "# Broker and topic settings\n\n\
         Written from the tables in `crates/broker-core/src/config`; the test `settings_page` \
         holds it against them.\n\
         An unknown setting is refused with the nearest known name; one of Kafka's that does not \
         apply here with the reason.\n\
         What `serve` logs, and how, is no setting: `STREAMLEDGER_LOG` and \
         `STREAMLEDGER_LOG_FORMAT` say it ([command-line.md](command-line.md#log-lines)).\n\n\
         ## Broker\n\n\
         Given as `-X name=value` to `serve`, or to \
         `BrokerConfig::builder().property(name, value)`. Those marked\n\
         with * can also change while the broker runs (`kafka-configs --entity-type brokers \
         --alter`), for this broker (`--entity-name 1`) or for\n\
         all (`--entity-default`). What is set for this one goes before what is set for all, \
         before the file, before the default; both are kept.\n\
         Kafka's num.io.threads, num.network.threads, background.threads, max.connections and the \
         settings of listeners may change there too;\nhere a start is needed for them.\n\n\
         | name | value | default | what it does | why this default |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for spec in BROKER_CONFIGS {
        let mark = if is_dynamic(spec.name) { " *" } else { "" };
        row(&mut page, spec, mark, spec.why);
    }
    page.push_str(
        "\n## Security\n\n\
         [security.md](security.md#the-broker) shows them at work. Those that begin with `ssl.` or \
         `sasl.`, and\n`connections.max.reauth.ms`, can be given for one listener: \
         `listener.name.NAME.setting`, NAME in lower case;\na login module also for one mechanism: \
         `listener.name.NAME.plain.sasl.jaas.config`. Secrets are refused on a\ncommand line: \
         give them in the file of `serve --config`.\n\n\
         | name | value | default | what it does | why this default |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for spec in SECURITY_CONFIGS {
        row(&mut page, spec, "", spec.why);
    }
    without_effect(&mut page);
    page.push_str(
        "\n## Topics\n\n\
         Given when a topic is created, or changed later; what a topic doesn't say it has from the \
         broker. All of Kafka's\ntopic settings are known; the last column says what this broker \
         does with each.\n\n\
         | name | value | default | what it does | here |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for topic in TOPIC_CONFIGS {
        let here = match topic.support {
            Support::Honoured => "acts".to_owned(),
            Support::Kept(reason) => format!("kept: {reason}"),
            Support::Only(values, reason) => format!("only {}: {reason}", values.join(", ")),
        };
        row(&mut page, &topic.spec, "", &here);
    }
    groups(&mut page);
    page
}

fn groups(page: &mut String) {
    page.push_str(
        "\n## Groups\n\n\
         Of single groups of the next generation, whether they are there or not: `kafka-configs \
         --entity-type groups\n--entity-name GROUP --alter --add-config name=value`. What a group \
         doesn't say it has from the broker. Kafka's others\n(`share.*`, `streams.*`, \
         `consumer.assignment.interval.ms`, `consumer.assignor.offload.enable`) are refused with \
         the reason.\n\n\
         | name | in the place of | between |\n\
         | --- | --- | --- |\n",
    );
    for GroupConfigSpec { name, synonym, bounds: (min, max) } in GROUP_CONFIGS {
        writeln!(page, "| `{name}` | `{synonym}` | `{min}`, `{max}` |").unwrap();
    }
}

fn without_effect(page: &mut String) {
    page.push_str(
        "\n## Without effect\n\n\
         Kafka's settings that are taken, so that its files work as they are, and change nothing; \
         a start names those that are given. The\nrest of Kafka's settings is refused with the \
         reason: another name, a class of Java's, or something that isn't here and would be \
         missed.\n\n\
         | why | taken | settings |\n\
         | --- | --- | --- |\n",
    );
    for group in NO_EFFECT {
        let taken = match group.only {
            None => "any".to_owned(),
            Some("") => "only empty".to_owned(),
            Some(value) => format!("only `{value}`"),
        };
        let names: Vec<_> = group.settings.iter().map(|(name, _)| format!("`{name}`")).collect();
        writeln!(page, "| {} | {taken} | {} |", group.reason, names.join(", ")).unwrap();
    }
}

fn row(page: &mut String, spec: &ConfigSpec, mark: &str, last: &str) {
    let default = match spec.default {
        None => "none".to_owned(),
        Some("") => "empty".to_owned(),
        Some(value) => format!("`{value}`"),
    };
    let (name, kind, doc) = (spec.name, spec.kind, spec.doc);
    writeln!(page, "| `{name}`{mark} | {kind} | {default} | {doc} | {last} |").unwrap();
}

/// Run with `STREAMLEDGER_WRITE_DOCS=1` to write the page.
#[test]
fn the_page_in_docs_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/broker-settings.md");
    if std::env::var_os("STREAMLEDGER_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/broker-settings.md is not what the tables say");
}
