// The Java client as a member of a group, and its assignors (see compat/README.md).
//
//   MemberPeer join   BROKERS [name=value ...] TOPIC...   reads and commits until stdin closes
//   MemberPeer assign -                                   answers groups from stdin, a line each

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public final class MemberPeer {
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        List<String> rest = Arrays.asList(args).subList(2, args.length);
        switch (args[0]) {
            case "join" -> join(args[1], rest);
            case "assign" -> assignAll();
            default -> throw new IllegalArgumentException("unknown command " + args[0]);
        }
    }

    private static PrintStream standardOutput() {
        BufferedOutputStream buffered = new BufferedOutputStream(System.out, 1 << 16);
        return new PrintStream(buffered, false, StandardCharsets.UTF_8);
    }

    // --- join: what comes, goes and is read, each said on a line ---

    private static void join(String brokers, List<String> arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        for (String setting : arguments.stream().filter(a -> a.contains("=")).toList()) {
            int equals = setting.indexOf('=');
            properties.put(setting.substring(0, equals), setting.substring(equals + 1));
        }
        List<String> topics = arguments.stream().filter(a -> !a.contains("=")).toList();
        PrintStream out = standardOutput();
        AtomicBoolean closed = new AtomicBoolean();
        Thread watch = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (IOException e) {
                System.err.println("stdin: " + e);
            }
            closed.set(true);
        });
        watch.setDaemon(true);
        watch.start();
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(properties, bytes, bytes)) {
            consumer.subscribe(topics, new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    say("assigned", partitions);
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    say("revoked", partitions);
                }

                private void say(String what, Collection<TopicPartition> partitions) {
                    partitions.forEach(p -> out.println(what + "\t" + p.partition()));
                    out.flush();
                }
            });
            while (!closed.get()) {
                consumer.poll(Duration.ofMillis(100)).forEach(record ->
                    out.println("record\t" + record.partition() + "\t" + record.offset()));
                out.flush();
            }
        }
        out.println("closed");
        out.flush();
    }

    // --- assign: ASSIGNOR, TOPIC:RACKS/RACKS/... with commas (of each partition: RACK+RACK, none),
    //     MEMBER=SUBSCRIPTION with semicolons ---

    private static void assignAll() throws IOException {
        PrintStream out = standardOutput();
        BufferedReader in =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] field = line.split("\t", -1);
            out.println(assign(assignor(field[0]), cluster(field[1]), field[2]));
        }
        out.flush();
    }

    private static ConsumerPartitionAssignor assignor(String name) {
        return switch (name) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            case "sticky" -> new StickyAssignor();
            default -> new CooperativeStickyAssignor();
        };
    }

    private static Cluster cluster(String topics) {
        // One broker in no rack, and one in each.
        Map<String, Node> nodes = new TreeMap<>(Map.of("", new Node(0, "localhost", 1)));
        List<PartitionInfo> partitions = new ArrayList<>();
        for (String topic : topics.split(",")) {
            String[] part = topic.split(":", -1);
            int index = 0;
            for (String racks : part[1].split("/", -1)) {
                Node[] replicas = Arrays.stream(racks.split("\\+", -1))
                    .map(rack -> nodes.computeIfAbsent(rack,
                        name -> new Node(nodes.size(), "localhost", 1, name)))
                    .toArray(Node[]::new);
                partitions.add(new PartitionInfo(part[0], index, replicas[0], replicas, replicas));
                index++;
            }
        }
        Collection<Node> all = nodes.values();
        return new Cluster("cluster", all, partitions, Set.of(), Set.of());
    }

    /** For each member, sorted: its subscription as Java writes it, and its assignment. */
    private static String assign(
            ConsumerPartitionAssignor assignor, Cluster cluster, String members) {
        Map<String, Subscription> subscriptions = new HashMap<>();
        Map<String, String> written = new TreeMap<>();
        for (String member : members.split(";")) {
            String[] part = member.split("=", -1);
            ByteBuffer bytes = ByteBuffer.wrap(HEX.parseHex(part[1]));
            Subscription subscription = ConsumerProtocol.deserializeSubscription(bytes);
            subscriptions.put(part[0], subscription);
            written.put(part[0], hex(ConsumerProtocol.serializeSubscription(subscription)));
        }
        Map<String, Assignment> assigned =
            assignor.assign(cluster, new GroupSubscription(subscriptions)).groupAssignment();
        List<String> answers = new ArrayList<>();
        written.forEach((member, subscription) -> answers.add(member + "=" + subscription + "="
            + hex(ConsumerProtocol.serializeAssignment(assigned.get(member)))));
        return String.join(";", answers);
    }

    private static String hex(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return HEX.formatHex(bytes);
    }
}
