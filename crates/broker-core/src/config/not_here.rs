//! Kafka's broker settings that are deliberately not here, and why.

/// Kafka's settings, or groups of them (`*` at the end), that are refused: what they ask for would
/// be missed, or they are called otherwise. Those that would not be missed are in `no_effect`.
pub(super) const NOT_HERE: &[(&str, &str)] = &[
    ("alter.config.policy.class.name", NO_CLASSES),
    ("authorizer.*", "the authorizer is authorizer.class.name"),
    ("broker.id", "the setting is called node.id"),
    ("client.quota.callback.class", NO_CLASSES),
    ("config.providers*", "in the file of serve --config ${env:NAME} and ${file:..} are replaced"),
    ("controller.*", "the controller is inside the one node"),
    ("create.topic.policy.class.name", NO_CLASSES),
    ("delegation.token.secret.key", "there are no delegation tokens"),
    ("inter.broker.*", "there is one node"),
    ("log.dir", "the setting is called log.dirs"),
    ("log.flush.*", "the flush policy is streamledger.flush; log.flush.interval.* are known"),
    ("principal.builder.class", "a name becomes a user by ssl.principal.mapping.rules"),
    ("remote.*", "there is no tiered storage"),
    ("replica.*", "there is one node"),
    (
        "sasl.oauthbearer.jwt.validator.class",
        "it is sasl.server.callback.handler.class that counts",
    ),
    ("sasl.*", "the settings of SASL are those of docs/broker-settings.md"),
    ("security.*", "the cryptography is built in"),
    ("ssl.engine.factory.class", NO_CLASSES),
    ("ssl.keystore.password", "a keystore in PEM has none; that of its key is ssl.key.password"),
    ("ssl.truststore.password", "a truststore in PEM has none"),
    ("ssl.*", "TLS is spoken by its own good choice, but for docs/broker-settings.md"),
    ("listener.name.*", "no such setting of a listener"),
    ("zookeeper.*", "there is no ZooKeeper"),
];

const NO_CLASSES: &str = "there is no Java that could load a class";
