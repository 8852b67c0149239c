// Apache Kafka's admin client on one broker, and a line about each answer.
//
//   AdminPeer BROKERS NAME    NAME begins the names of all that it makes; it takes it away again
//
// What differs from broker to broker by right (ids, sizes, times, directories) isn't printed.

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class AdminPeer {
    private final String brokers;
    private final String name;
    private final Admin admin;
    private final TopicPartition first;
    private final ConfigResource topicConfig;
    private final ConfigResource brokerConfig = new ConfigResource(ConfigResource.Type.BROKER, "1");
    private final ConfigResource allBrokers = new ConfigResource(ConfigResource.Type.BROKER, "");
    private final TreeSet<String> notAsked = new TreeSet<>();

    private AdminPeer(String brokers, String name) {
        this.brokers = brokers;
        this.name = name;
        this.admin = Admin.create(Map.of("bootstrap.servers", brokers));
        this.first = new TopicPartition(name, 0);
        this.topicConfig = new ConfigResource(ConfigResource.Type.TOPIC, name);
        for (var method : Admin.class.getMethods()) {
            notAsked.add(method.getName());
        }
        notAsked.removeAll(Set.of("create", "close", "metrics", "registerMetricForSubscription",
            "unregisterMetricFromSubscription"));
    }

    public static void main(String[] args) {
        AdminPeer peer = new AdminPeer(args[0], args[1]);
        peer.cluster();
        peer.topics();
        peer.configs();
        peer.records();
        peer.groups();
        peer.transactions();
        peer.security();
        peer.absent();
        peer.removal();
        // A method of a later release shows up here.
        System.out.println("not asked: " + peer.notAsked);
        peer.admin.close(Duration.ofSeconds(5));
    }

    private void say(String method, String what, Callable<Object> call) {
        notAsked.remove(method);
        String said;
        try {
            said = String.valueOf(call.call());
        } catch (ExecutionException refused) {
            said = refusal(refused.getCause());
        } catch (Exception refused) {
            said = refusal(refused);
        }
        System.out.println(method + (what.isEmpty() ? "" : " " + what) + ": " + said);
    }

    /** Asks until the answer begins so (20 s): not all is seen at once. */
    private void say(String method, String what, String start, Callable<Object> call) {
        say(method, what, () -> {
            for (int tries = 0; ; tries++) {
                try {
                    String said = String.valueOf(call.call());
                    if (said.startsWith(start) || tries == 200) {
                        return said;
                    }
                } catch (ExecutionException refused) {
                    if (tries == 200) {
                        throw refused;
                    }
                }
                Thread.sleep(100);
            }
        });
    }

    /** Each broker has its own words for it. */
    private static String refusal(Throwable refused) {
        return refused.getClass().getSimpleName();
    }

    private Properties client(Map<String, String> own) {
        Properties all = new Properties();
        all.put("bootstrap.servers", brokers);
        all.putAll(own);
        return all;
    }

    private void cluster() {
        say("describeCluster", "", () -> {
            DescribeClusterResult cluster =
                admin.describeCluster(new DescribeClusterOptions()
                    .includeAuthorizedOperations(true));
            return cluster.nodes().get().size() + " nodes, controller " + cluster.controller().get()
                .id()
                + ", id " + (cluster.clusterId().get().length() == 22) + ", "
                + new TreeSet<>(cluster.authorizedOperations().get());
        });
        say("describeFeatures", "", () -> {
            FeatureMetadata features = admin.describeFeatures().featureMetadata().get();
            var finalized = features.finalizedFeatures();
            return "transaction.version " + finalized.get("transaction.version").maxVersionLevel()
                + ", group.version " + finalized.get("group.version").maxVersionLevel();
        });
        say("updateFeatures", "validated", () -> admin.updateFeatures(
            Map.of("group.version", new FeatureUpdate((short) 1,
                FeatureUpdate.UpgradeType.UPGRADE)),
            new UpdateFeaturesOptions().validateOnly(true)).all().get());
        say("updateFeatures", "too high", () -> admin.updateFeatures(
            Map.of("group.version", new FeatureUpdate((short) 99,
                FeatureUpdate.UpgradeType.UPGRADE)),
            new UpdateFeaturesOptions()).all().get());
        say("describeMetadataQuorum", "", () -> {
            QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
            return "leader " + quorum.leaderId() + ", " + quorum.voters().size() + " voters, "
                + quorum.observers().size() + " observers";
        });
        say("unregisterBroker", "", () -> admin.unregisterBroker(77).all().get());
    }

    private void topics() {
        say("createTopics", "", () -> {
            NewTopic topic = new NewTopic(name, 3, (short) 1)
                .configs(Map.of("retention.ms", "86400000", "segment.bytes", "1048576"));
            CreateTopicsResult made = admin.createTopics(List.of(topic));
            Config config = made.config(name).get();
            return made.numPartitions(name).get() + " of " + made.replicationFactor(name).get()
                + ", id "
                + !made.topicId(name).get().equals(Uuid.ZERO_UUID) + ", "
                + config.get("retention.ms").value() + " " + config.get("retention.ms").source();
        });
        say("createTopics", "again", () -> create(new NewTopic(name, 3, (short) 1)));
        say("createTopics", "by defaults", () ->
            create(new NewTopic(name + ".defaults", Optional.empty(), Optional.empty())));
        say("createTopics", "placed", () -> create(
            new NewTopic(name + ".placed", Map.of(0, List.of(1), 1, List.of(1)))));
        say("createTopics", "placed on no broker", () -> create(
            new NewTopic(name + ".nowhere", Map.of(0, List.of(9)))));
        say("createTopics", "on two brokers", () -> create(new NewTopic(name + ".two", 1,
            (short) 2)));
        say("createTopics", "of no partition", () -> create(new NewTopic(name + ".none", 0,
            (short) 1)));
        say("createTopics", "a bad name", () -> create(new NewTopic("a b", 1, (short) 1)));
        say("createTopics", "a bad setting", () -> create(
            new NewTopic(name + ".bad", 1, (short) 1).configs(Map.of("retention.ms", "soon"))));
        say("createTopics", "an unknown setting", () -> create(
            new NewTopic(name + ".bad", 1, (short) 1).configs(Map.of("retention.mss", "1"))));
        say("createTopics", "validated", () -> admin.createTopics(
            List.of(new NewTopic(name + ".validated", 1, (short) 1)),
            new CreateTopicsOptions().validateOnly(true)).all().get());
        say("listTopics", "", "[" + name + ", " + name + ".defaults, " + name + ".placed]", () ->
            names(admin.listTopics().names().get()));
        say("describeTopics", "", "3", () -> {
            TopicDescription topic = described(name);
            return topic.partitions().size() + " partitions, internal " + topic.isInternal()
                + ", led by "
                + topic.partitions().get(2).leader().id() + ", in sync "
                + topic.partitions().get(2).isr().size();
        });
        say("describeTopics", "by id", () -> {
            Uuid id = described(name).topicId();
            return admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get()
                .get(id).name().equals(name);
        });
        say("describeTopics", "a page at a time", "5", () -> admin.describeTopics(
            List.of(name, name + ".placed"), new DescribeTopicsOptions()
                .partitionSizeLimitPerResponse(2))
            .allTopicNames().get().values().stream().mapToInt(one -> one.partitions().size())
                .sum());
        say("describeTopics", "missing", () -> described(name + ".missing"));
        say("describeTopics", "a missing id", () -> admin.describeTopics(
            TopicCollection.ofTopicIds(List.of(new Uuid(7, 7)))).allTopicIds().get());
        say("createPartitions", "", () ->
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(4))).all().get());
        say("describeTopics", "grown", "4", () -> described(name).partitions().size());
        say("createPartitions", "fewer", () ->
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(2))).all().get());
        say("createPartitions", "as many", () ->
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(4))).all().get());
        say("createPartitions", "placed", () -> admin.createPartitions(
            Map.of(name, NewPartitions.increaseTo(5, List.of(List.of(1))))).all().get());
        say("createPartitions", "placed on no broker", () -> admin.createPartitions(
            Map.of(name, NewPartitions.increaseTo(6, List.of(List.of(8))))).all().get());
        say("createPartitions", "validated", () -> admin.createPartitions(
            Map.of(name, NewPartitions.increaseTo(9)),
            new CreatePartitionsOptions().validateOnly(true)).all().get());
        say("createPartitions", "missing", () -> admin.createPartitions(
            Map.of(name + ".missing", NewPartitions.increaseTo(2))).all().get());
        say("electLeaders", "preferred", () -> elected(ElectionType.PREFERRED, first));
        say("electLeaders", "unclean", () -> elected(ElectionType.UNCLEAN, first));
        say("electLeaders", "missing", () ->
            elected(ElectionType.PREFERRED, new TopicPartition(name + ".missing", 0)));
        say("alterPartitionReassignments", "to where it is", () ->
            admin.alterPartitionReassignments(
            Map.of(first, Optional.of(new NewPartitionReassignment(List.of(1))))).all().get());
        say("alterPartitionReassignments", "to no broker", () -> admin.alterPartitionReassignments(
            Map.of(first, Optional.of(new NewPartitionReassignment(List.of(5))))).all().get());
        say("alterPartitionReassignments", "cancelled", () ->
            admin.alterPartitionReassignments(Map.of(first, Optional.empty())).all().get());
        say("listPartitionReassignments", "", () -> admin.listPartitionReassignments()
            .reassignments().get());
    }

    private Object elected(ElectionType how, TopicPartition where) throws Exception {
        return admin.electLeaders(how, Set.of(where)).partitions().get().values().stream()
            .map(one -> refusal(one.orElseThrow())).toList();
    }

    private Object create(NewTopic topic) throws Exception {
        return admin.createTopics(List.of(topic)).all().get();
    }

    private TopicDescription described(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private TreeSet<String> names(Collection<String> all) {
        return all.stream().filter(one -> one.startsWith(name))
            .collect(Collectors.toCollection(TreeSet::new));
    }

    private Object alter(ConfigResource of, String setting, String value, AlterConfigOp.OpType how)
            throws Exception {
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry(setting, value), how);
        return admin.incrementalAlterConfigs(Map.of(of, List.of(change))).all().get();
    }

    private String config(ConfigResource of, String setting) throws Exception {
        ConfigEntry entry = admin.describeConfigs(List.of(of)).all().get().get(of).get(setting);
        return entry == null ? "none" : entry.value() + " " + entry.source() + " " + entry.type()
            + (entry.isReadOnly() ? " read-only" : "") + (entry.isSensitive() ? " sensitive" : "");
    }

    private void configs() {
        say("describeConfigs", "of a topic", () -> config(topicConfig, "retention.ms"));
        say("describeConfigs", "documented", () -> admin.describeConfigs(List.of(topicConfig),
            new DescribeConfigsOptions().includeDocumentation(true)).all().get().get(topicConfig)
            .get("retention.ms").documentation().isEmpty());
        say("describeConfigs", "names of a topic", () -> admin.describeConfigs(List.of(topicConfig))
            .all()
            .get().get(topicConfig).entries().stream().map(ConfigEntry::name).sorted().toList());
        say("describeConfigs", "of a missing topic", () -> config(
            new ConfigResource(ConfigResource.Type.TOPIC, name + ".missing"), "retention.ms"));
        say("describeConfigs", "of the broker", () -> config(brokerConfig, "node.id")
            .endsWith("INT read-only"));
        say("describeConfigs", "of another broker", () -> admin.describeConfigs(
            List.of(new ConfigResource(ConfigResource.Type.BROKER, "x"))).all().get());
        say("incrementalAlterConfigs", "set", () ->
            alter(topicConfig, "max.message.bytes", "1234567", AlterConfigOp.OpType.SET));
        say("describeConfigs", "with synonyms", "[max.message.bytes=1234567", () ->
            admin.describeConfigs(List.of(topicConfig), new DescribeConfigsOptions()
                .includeSynonyms(true))
            .all().get().get(topicConfig).get("max.message.bytes").synonyms().stream()
            .map(one -> one.name() + "=" + one.value() + " " + one.source()).toList());
        say("incrementalAlterConfigs", "append", () ->
            alter(topicConfig, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND));
        say("describeConfigs", "after it", "delete,compact ", () -> config(topicConfig,
            "cleanup.policy"));
        say("incrementalAlterConfigs", "subtract", () ->
            alter(topicConfig, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT));
        say("describeConfigs", "after it", "compact ", () -> config(topicConfig, "cleanup.policy"));
        say("incrementalAlterConfigs", "delete", () ->
            alter(topicConfig, "cleanup.policy", "", AlterConfigOp.OpType.DELETE));
        say("describeConfigs", "after it", "delete DEFAULT", () -> config(topicConfig,
            "cleanup.policy"));
        say("incrementalAlterConfigs", "append to no list", () ->
            alter(topicConfig, "retention.ms", "1", AlterConfigOp.OpType.APPEND));
        say("incrementalAlterConfigs", "a bad value", () ->
            alter(topicConfig, "max.message.bytes", "-5", AlterConfigOp.OpType.SET));
        say("incrementalAlterConfigs", "unknown", () ->
            alter(topicConfig, "no.such", "1", AlterConfigOp.OpType.SET));
        say("incrementalAlterConfigs", "validated", () -> {
            AlterConfigOp change =
                new AlterConfigOp(new ConfigEntry("retention.ms", "1"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(topicConfig, List.of(change)),
                new AlterConfigsOptions().validateOnly(true)).all().get();
            return config(topicConfig, "retention.ms");
        });
        say("incrementalAlterConfigs", "of all brokers", () ->
            alter(allBrokers, "log.retention.ms", "99999999", AlterConfigOp.OpType.SET));
        say("describeConfigs", "after it", "99999999", () -> config(brokerConfig,
            "log.retention.ms"));
        say("incrementalAlterConfigs", "of all brokers, deleted", () ->
            alter(allBrokers, "log.retention.ms", "", AlterConfigOp.OpType.DELETE));
        say("incrementalAlterConfigs", "read-only", () ->
            alter(brokerConfig, "node.id", "2", AlterConfigOp.OpType.SET));
        say("listConfigResources", "", () -> admin.listConfigResources(
            Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get()
                .stream()
            .filter(one -> one.name().equals(name)).toList());
        say("listClientMetricsResources", "", () -> admin.listClientMetricsResources().all().get());
    }

    private ListOffsetsResult.ListOffsetsResultInfo offset(OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(first, spec)).all().get().get(first);
    }

    private void records() {
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(client(Map.of()), new StringSerializer(),
                    new StringSerializer())) {
            for (long number = 0; number < 20; number++) {
                producer.send(new ProducerRecord<>(name, 0, 1_700_000_000_000L + (number * 7 % 20),
                    "k", "v"));
            }
        }
        say("listOffsets", "earliest", () -> offset(OffsetSpec.earliest()).offset());
        say("listOffsets", "latest", () -> offset(OffsetSpec.latest()).offset());
        say("listOffsets", "newest", () -> {
            var newest = offset(OffsetSpec.maxTimestamp());
            return newest.offset() + " at " + newest.timestamp();
        });
        say("listOffsets", "by time", () -> {
            var found = offset(OffsetSpec.forTimestamp(1_700_000_000_015L));
            return found.offset() + " at " + found.timestamp();
        });
        say("listOffsets", "later than all", () ->
            offset(OffsetSpec.forTimestamp(1_900_000_000_000L)).offset());
        say("listOffsets", "earliest local", () -> offset(OffsetSpec.earliestLocal()).offset());
        say("listOffsets", "latest tiered", () -> offset(OffsetSpec.latestTiered()).offset());
        say("listOffsets", "earliest that waits for an upload", () ->
            offset(OffsetSpec.earliestPendingUpload()).offset());
        say("listOffsets", "missing", () -> {
            TopicPartition missing = new TopicPartition(name, 77);
            return admin.listOffsets(Map.of(missing, OffsetSpec.latest()),
                new ListOffsetsOptions().timeoutMs(500)).all().get();
        });
        say("deleteRecords", "", () -> {
            admin.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(7))).all().get();
            return offset(OffsetSpec.earliest()).offset();
        });
        say("deleteRecords", "to the end", () -> admin.deleteRecords(
            Map.of(first, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(first).get()
                .lowWatermark());
        say("deleteRecords", "beyond the end", () -> admin.deleteRecords(
            Map.of(first, RecordsToDelete.beforeOffset(100))).all().get());
        say("describeLogDirs", "", () -> admin.describeLogDirs(List.of(1)).allDescriptions().get()
            .get(1)
            .values().stream().mapToLong(directory -> directory.replicaInfos().keySet().stream()
            .filter(at -> at.topic().equals(name)).count()).sum());
        TopicPartitionReplica replica = new TopicPartitionReplica(name, 0, 1);
        say("describeReplicaLogDirs", "", () -> {
            var found = admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica);
            return (found.getCurrentReplicaLogDir() != null) + " " + found.getFutureReplicaLogDir();
        });
        say("alterReplicaLogDirs", "to no directory", () ->
            admin.alterReplicaLogDirs(Map.of(replica, "/no/such/place")).all().get());
        say("describeProducers", "", () -> admin.describeProducers(List.of(first)).all().get()
            .get(first)
            .activeProducers().stream().map(one -> "last sequence " + one.lastSequence() + ", "
            + one.currentTransactionStartOffset()).toList());
    }

    private void groups() {
        String group = name + "-group";
        String next = name + "-next";
        Map<String, String> settings = Map.of("group.id", group, "auto.offset.reset", "earliest",
            "client.id", "reader", "session.timeout.ms", "10000");
        Properties nextSettings =
            client(Map.of("group.id", next, "group.protocol", "consumer", "client.id", "reader"));
        try (KafkaConsumer<String, String> member = new KafkaConsumer<>(
                 client(settings), new StringDeserializer(), new StringDeserializer());
             KafkaConsumer<String, String> nextMember = new KafkaConsumer<>(
                 nextSettings, new StringDeserializer(), new StringDeserializer())) {
            for (KafkaConsumer<String, String> one : List.of(member, nextMember)) {
                one.subscribe(List.of(name));
                for (int polls = 0; polls < 100 && one.assignment().isEmpty(); polls++) {
                    one.poll(Duration.ofMillis(100));
                }
                one.commitSync(Map.of(first, new OffsetAndMetadata(3, "so far")));
            }
            String both = "[" + group + " Optional[Classic] consumer Stable, " + next
                + " Optional[Consumer] consumer Stable]";
            say("listGroups", "", both, () -> admin.listGroups().all().get().stream()
                .filter(one -> one.groupId().startsWith(name)).map(one -> one.groupId() + " "
                    + one.type() + " "
                + one.protocol() + " " + one.groupState().orElseThrow()).sorted().toList());
            say("listGroups", "of one type", () -> admin.listGroups(
                new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER))).all().get().stream()
                .map(GroupListing::groupId).filter(one -> one.startsWith(name)).toList());
            say("listConsumerGroups", "", () -> admin.listConsumerGroups().all().get().stream()
                .map(ConsumerGroupListing::groupId).filter(one -> one.startsWith(name)).sorted()
                    .toList());
            say("describeConsumerGroups", "", () -> admin.describeConsumerGroups(List.of(group,
                next)).all()
                .get().values().stream().map(one -> one.groupId() + " " + one.type() + " "
                    + one.groupState()
                + " " + one.partitionAssignor() + ", " + one.members().size() + " member "
                + one.members().iterator().next().clientId() + " with "
                + one.members().iterator().next().assignment().topicPartitions().size()).sorted()
                    .toList());
            say("describeClassicGroups", "", () -> admin.describeClassicGroups(List.of(group)).all()
                .get()
                .get(group).protocolData());
            say("describeClassicGroups", "of the next generation", () ->
                admin.describeClassicGroups(List.of(next)).all().get());
            say("deleteConsumerGroups", "with a member", () ->
                admin.deleteConsumerGroups(List.of(group)).all().get());
            say("deleteConsumerGroupOffsets", "of one who reads", () ->
                admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get());
            say("alterConsumerGroupOffsets", "of one who reads", () ->
                admin.alterConsumerGroupOffsets(
                group, Map.of(first, new OffsetAndMetadata(1))).all().get());
            say("removeMembersFromConsumerGroup", "all", () -> admin.removeMembersFromConsumerGroup(
                group, new RemoveMembersFromConsumerGroupOptions()).all().get());
            member.unsubscribe();
        }
        say("removeMembersFromConsumerGroup", "missing", () ->
            admin.removeMembersFromConsumerGroup(group,
            new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("nobody")))).all()
                .get());
        say("listConsumerGroupOffsets", "", () -> {
            var offset = admin.listConsumerGroupOffsets(group).all().get().get(group).get(first);
            return offset.offset() + " " + offset.metadata();
        });
        say("listConsumerGroupOffsets", "of two groups", () ->
            admin.listConsumerGroupOffsets(Map.of(
            group, new ListConsumerGroupOffsetsSpec(), next, new ListConsumerGroupOffsetsSpec()))
            .all().get().size());
        say("alterConsumerGroupOffsets", "", () -> {
            admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(5))).all()
                .get();
            return admin.listConsumerGroupOffsets(group).all().get().get(group).get(first).offset();
        });
        say("deleteConsumerGroupOffsets", "", () -> {
            admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
            return admin.listConsumerGroupOffsets(group).all().get().get(group).get(first);
        });
        say("describeConsumerGroups", "empty", "Empty", () ->
            admin.describeConsumerGroups(List.of(next)).all().get()
            .get(next).groupState());
        say("describeConsumerGroups", "missing", () ->
            admin.describeConsumerGroups(List.of(name + "-missing")).all().get());
        say("deleteConsumerGroups", "", () -> admin.deleteConsumerGroups(List.of(group, next)).all()
            .get());
        say("deleteConsumerGroups", "missing", () ->
            admin.deleteConsumerGroups(List.of(name + "-missing")).all().get());
    }

    private void transactions() {
        String id = name + "-id";
        Properties settings = client(Map.of("transactional.id", id));
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(name, 1, "k", "v"));
            producer.flush();
            TopicPartition second = new TopicPartition(name, 1);
            say("listTransactions", "", () -> admin.listTransactions().all().get().stream()
                .filter(one -> one.transactionalId().equals(id)).map(TransactionListing::state)
                    .toList());
            say("listTransactions", "older than a day", () -> admin.listTransactions(
                new ListTransactionsOptions().filterOnDuration(86_400_000)).all().get().stream()
                .filter(one -> one.transactionalId().equals(id)).toList());
            say("describeTransactions", "", () -> {
                var found = admin.describeTransactions(List.of(id)).all().get().get(id);
                return found.state() + " " + found.topicPartitions() + " "
                    + found.transactionTimeoutMs();
            });
            say("describeTransactions", "missing", () ->
                admin.describeTransactions(List.of(name + "-missing")).all().get());
            say("abortTransaction", "", () -> {
                var open = admin.describeProducers(List.of(second)).all().get().get(second)
                    .activeProducers().get(0);
                return admin.abortTransaction(new AbortTransactionSpec(second, open.producerId(),
                    (short) open.producerEpoch(), open.coordinatorEpoch().orElse(0))).all().get();
            });
            say("forceTerminateTransaction", "of nobody", () ->
                admin.forceTerminateTransaction(name + "-missing").result().get());
            say("fenceProducers", "", () -> admin.fenceProducers(List.of(id)).all().get());
            say("listTransactions", "after it", "[Empty]", () -> admin.listTransactions().all()
                .get().stream()
                .filter(one -> one.transactionalId().equals(id)).map(TransactionListing::state)
                    .toList());
            try {
                producer.commitTransaction();
                System.out.println("the fenced producer commits");
            } catch (RuntimeException fenced) {
                System.out.println("the fenced producer: " + fenced.getClass().getSimpleName());
            }
            producer.close(Duration.ZERO);
        }
    }

    private void security() {
        AclBinding acl = new AclBinding(
            new ResourcePattern(ResourceType.TOPIC, name, PatternType.LITERAL),
            new AccessControlEntry("User:eve", "*", AclOperation.READ, AclPermissionType.ALLOW));
        say("createAcls", "", () -> admin.createAcls(List.of(acl)).all().get());
        say("describeAcls", "", () -> admin.describeAcls(acl.toFilter()).values().get());
        say("deleteAcls", "", () -> admin.deleteAcls(List.of(acl.toFilter())).all().get());
        ClientQuotaEntity client = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, name));
        say("alterClientQuotas", "", () ->
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(client,
            List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e6))))).all().get());
        ClientQuotaFilter filter = ClientQuotaFilter.contains(
            List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, name)));
        say("describeClientQuotas", "", "{", () ->
            admin.describeClientQuotas(filter).entities().get().get(client));
        say("alterClientQuotas", "unknown", () ->
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(
            client, List.of(new ClientQuotaAlteration.Op("no_such_rate", 1.0))))).all().get());
        say("alterClientQuotas", "removed", () ->
            admin.alterClientQuotas(List.of(new ClientQuotaAlteration(
            client, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", null))))).all()
                .get());
        String user = name + "-user";
        say("alterUserScramCredentials", "", () -> admin.alterUserScramCredentials(List.of(
            new UserScramCredentialUpsertion(user, new ScramCredentialInfo(
                ScramMechanism.SCRAM_SHA_512, 4096), "secret".getBytes(StandardCharsets.UTF_8))))
            .all().get());
        say("describeUserScramCredentials", "", "[", () ->
            admin.describeUserScramCredentials(List.of(user)).all().get().get(user)
                .credentialInfos());
        say("alterUserScramCredentials", "too few rounds", () ->
            admin.alterUserScramCredentials(List.of(
            new UserScramCredentialUpsertion(user, new ScramCredentialInfo(
                ScramMechanism.SCRAM_SHA_256, 10), "secret"))).all().get());
        say("alterUserScramCredentials", "deleted", () -> admin.alterUserScramCredentials(List.of(
            new UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512))).all().get());
        say("alterUserScramCredentials", "missing", () -> admin.alterUserScramCredentials(List.of(
            new UserScramCredentialDeletion(user + "-missing", ScramMechanism.SCRAM_SHA_512))).all()
                .get());
        say("describeUserScramCredentials", "missing", () -> admin.describeUserScramCredentials(
            List.of(user + "-missing")).description(user + "-missing").get());
    }

    /** What one machine has no use for; what is said of it is in FINDINGS.md. */
    private void absent() {
        notAsked.removeAll(Set.of("createDelegationToken", "describeDelegationToken",
            "expireDelegationToken",
            "renewDelegationToken", "addRaftVoter", "removeRaftVoter", "clientInstanceId",
            "describeShareGroups", "alterShareGroupOffsets", "listShareGroupOffsets",
                "deleteShareGroups",
            "deleteShareGroupOffsets", "describeStreamsGroups", "alterStreamsGroupOffsets",
            "listStreamsGroupOffsets", "deleteStreamsGroups", "deleteStreamsGroupOffsets"));
    }

    private void removal() {
        say("deleteTopics", "", () -> admin.deleteTopics(List.of(name + ".defaults")).all().get());
        say("deleteTopics", "by id", () -> admin.deleteTopics(
            TopicCollection.ofTopicIds(List.of(described(name + ".placed").topicId()))).all()
                .get());
        say("deleteTopics", "missing", () -> admin.deleteTopics(List.of(name + ".missing")).all()
            .get());
        say("deleteTopics", "a missing id", () -> admin.deleteTopics(
            TopicCollection.ofTopicIds(List.of(new Uuid(7, 7)))).all().get());
        say("deleteTopics", "the last", () -> admin.deleteTopics(List.of(name)).all().get());
        say("listTopics", "", "[]", () -> names(admin.listTopics().names().get()));
    }
}
