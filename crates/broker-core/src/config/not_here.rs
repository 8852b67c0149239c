//! Kafka's broker settings that are deliberately not here, and why.

/// Kafka's settings, or groups of them (`*` at the end), that are deliberately not here.
pub(super) const NOT_HERE: &[(&str, &str)] = &[
    ("authorizer.*", "the authorizer is authorizer.class.name"),
    ("broker.id", "the setting is called node.id"),
    ("controller.*", "the controller is inside the one node"),
    ("inter.broker.*", "there is one node"),
    ("log.cleaner.io.buffer.load.factor", "the map holds whole keys, not slots of a table"),
    ("log.dir", "the setting is called log.dirs"),
    ("log.flush.*", "the flush policy is streamledger.flush; log.flush.interval.* are known"),
    ("num.io.threads", "the setting is streamledger.worker.threads"),
    ("num.network.threads", "the setting is streamledger.worker.threads"),
    ("process.roles", "the one node is broker and controller"),
    ("remote.*", "there is no tiered storage"),
    ("replica.*", "there is one node"),
    ("sasl.kerberos.*", "Kerberos needs a C library; there are SCRAM, PLAIN and OAUTHBEARER"),
    ("sasl.*", "the settings of SASL are those of docs/broker-settings.md"),
    ("security.inter.broker.protocol", "there is one node"),
    ("security.*", "the cryptography is built in"),
    ("ssl.keystore.password", "a keystore in PEM has none; that of its key is ssl.key.password"),
    ("ssl.truststore.password", "a truststore in PEM has none"),
    ("ssl.*", "TLS is spoken by its own good choice, but for docs/broker-settings.md"),
    ("listener.name.*", "no such setting of a listener"),
    ("principal.builder.class", "a name becomes a user by ssl.principal.mapping.rules"),
    ("transaction.partition.verification.enable", "batches are always verified"),
    ("zookeeper.*", "there is no ZooKeeper"),
];
