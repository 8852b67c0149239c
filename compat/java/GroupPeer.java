// Members of consumer groups, by the Java client (see "Group members" in compat/README.md).
//
//   GroupPeer BROKERS      commands on stdin: start NAME GROUP TOPIC [name=value ...], stop NAME

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class GroupPeer {
    public static void main(String[] args) throws Exception {
        Map<String, Member> members = new HashMap<>();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            List<String> words = Arrays.asList(line.split(" "));
            String name = words.get(1);
            if (words.get(0).equals("start")) {
                Member member = new Member(name, args[0], words.subList(2, words.size()));
                members.put(name, member);
                member.start();
            } else {
                members.remove(name).end();
            }
        }
        for (Member member : members.values()) {
            member.end();
        }
    }

    private static synchronized void say(String... fields) {
        System.out.println(String.join("\t", fields));
        System.out.flush();
    }

    private static final class Member extends Thread implements ConsumerRebalanceListener {
        private final String name;
        private final KafkaConsumer<byte[], byte[]> consumer;
        // Read, and not yet committed; what the member loses of it others read.
        private final List<ConsumerRecord<byte[], byte[]>> uncommitted = new ArrayList<>();
        private volatile boolean ending;

        Member(String name, String brokers, List<String> arguments) {
            this.name = name;
            Properties properties = new Properties();
            properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
            properties.put(ConsumerConfig.GROUP_ID_CONFIG, arguments.get(0));
            properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
            properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
            properties.put(ConsumerConfig.METADATA_MAX_AGE_CONFIG, "500");
            for (String setting : arguments.subList(2, arguments.size())) {
                String[] pair = setting.split("=", 2);
                properties.put(pair[0], pair[1]);
            }
            ByteArrayDeserializer bytes = new ByteArrayDeserializer();
            consumer = new KafkaConsumer<>(properties, bytes, bytes);
            String topic = arguments.get(1);
            if (topic.startsWith("re2:")) {
                consumer.subscribe(new SubscriptionPattern(topic.substring(4)), this);
            } else if (topic.startsWith("pattern:")) {
                consumer.subscribe(Pattern.compile(topic.substring(8)), this);
            } else {
                consumer.subscribe(List.of(topic), this);
            }
        }

        @Override
        public void run() {
            try (consumer) {
                Set<TopicPartition> assigned = Set.of();
                while (!ending) {
                    consumer.poll(Duration.ofMillis(50)).forEach(uncommitted::add);
                    commit();
                    Set<TopicPartition> now = Set.copyOf(consumer.assignment());
                    if (!now.equals(assigned)) {
                        assigned = now;
                        say(name, "assigned", text(now));
                    }
                }
            } catch (WakeupException e) {
                // It is to end.
            } catch (KafkaException e) {
                say(name, "error", e.toString());
                return;
            }
            say(name, "stopped");
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            uncommitted.removeIf(one ->
                partitions.contains(new TopicPartition(one.topic(), one.partition())));
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

        // Told only once committed, so that nobody else tells them too. A commit that a rebalance
        // comes before is tried again for what stays: it is not read once more.
        private void commit() {
            if (uncommitted.isEmpty()) {
                return;
            }
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            for (ConsumerRecord<byte[], byte[]> record : uncommitted) {
                TopicPartition at = new TopicPartition(record.topic(), record.partition());
                offsets.put(at, new OffsetAndMetadata(record.offset() + 1));
            }
            try {
                consumer.commitSync(offsets);
            } catch (org.apache.kafka.clients.consumer.CommitFailedException
                    | org.apache.kafka.common.errors.RebalanceInProgressException e) {
                say(name, "uncommitted", e.getClass().getSimpleName());
                return;
            }
            for (ConsumerRecord<byte[], byte[]> record : uncommitted) {
                String place = record.topic() + ":" + record.partition();
                say(name, "record", place + ":" + record.offset());
            }
            uncommitted.clear();
        }

        private static String text(Set<TopicPartition> assigned) {
            return assigned.stream()
                .map(partition -> partition.topic() + ":" + partition.partition())
                .collect(Collectors.toCollection(TreeSet::new))
                .stream()
                .collect(Collectors.joining(","));
        }

        void end() throws InterruptedException {
            ending = true;
            join();
        }
    }
}
