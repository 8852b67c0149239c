//! The table of broker settings, and what is said of a wrong one.

use super::*;

#[test]
fn rows_are_in_order_of_name_and_every_default_passes_its_own_check() {
    assert!(BROKER_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
    for spec in BROKER_CONFIGS {
        if let Some(default) = spec.default {
            assert!(check_broker_config(spec.name, default).is_ok(), "{}", spec.name);
        }
        assert!(!spec.doc.is_empty() && !spec.why.is_empty());
    }
}

#[test]
fn an_unknown_setting_is_answered_with_the_nearest_or_with_the_reason() {
    let refusal = |name, value| check_broker_config(name, value).unwrap_err().to_string();
    assert_eq!(
        refusal("num.partition", "3"),
        "unknown setting num.partition; did you mean num.partitions?"
    );
    assert_eq!(
        refusal("retention.ms", "3"),
        "unknown setting retention.ms; did you mean log.retention.ms?"
    );
    assert!(refusal("zookeeper.connect", "h:2181").contains("there is no ZooKeeper"));
    assert!(refusal("log.flush.often", "1").contains("streamledger.flush"));
    assert!(refusal("node.id", "-4").contains("at least 0"));
}

#[test]
fn topic_defaults_are_dynamic_and_the_rest_is_not() {
    assert!(is_dynamic("log.retention.hours"));
    assert!(is_dynamic("message.max.bytes"));
    assert!(!is_dynamic("num.partitions"));
    assert!(!is_dynamic("listeners"));
}
