// The Java client as a peer: produces and consumes record lines (see compat/README.md).
//
//   Peer produce BROKERS FILE [name=value ...] [-- FILE [name=value ...]] ...
//   Peer produce-by TOPIC FILE [TOPIC FILE] ...   a record each, by a properties file as it is
//   Peer consume BROKERS [name=value ...] TOPIC...
//   Peer settings all|broker              what ConfigDef says of each setting, as a table
//   Peer endure  BROKERS TOPIC PARTITIONS RATE ACK_LOG [name=value ...]   until stdin closes
//   Peer transact BROKERS IN OUT GROUP [name=value ...]   commits, aborts, stores offsets, fences
//   Peer endure-transactions BROKERS TOPIC PARTITIONS LOG [name=value ...] until stdin closes

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.Reader;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Peer {
    private static final String NULL = "~";
    private static final HexFormat HEX = HexFormat.of();

    public static void main(String[] args) throws Exception {
        List<String> rest = Arrays.asList(args).subList(2, args.length);
        switch (args[0]) {
            case "produce" -> produceAll(args[1], rest);
            case "produce-by" -> produceBy(Arrays.asList(args).subList(1, args.length));
            case "consume" -> consume(args[1], rest);
            case "settings" -> settings(args[1]);
            case "endure" -> endure(args[1], rest);
            case "transact" -> transact(args[1], rest);
            case "endure-transactions" -> endureTransactions(args[1], rest);
            default -> throw new IllegalArgumentException("unknown command " + args[0]);
        }
    }

    // --- produce ---

    private static void produceAll(String brokers, List<String> arguments) throws Exception {
        PrintStream out = standardOutput();
        int start = 0;
        for (int end = 0; end <= arguments.size(); end++) {
            if (end == arguments.size() || arguments.get(end).equals("--")) {
                produce(brokers, arguments.subList(start, end), out);
                start = end + 1;
            }
        }
        out.flush();
    }

    private static void produce(String brokers, List<String> job, PrintStream out)
            throws Exception {
        List<String> settings = job.subList(1, job.size());
        try (KafkaProducer<byte[], byte[]> producer = producer(brokers, settings)) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (String line : Files.readAllLines(Path.of(job.get(0)))) {
                acks.add(producer.send(record(line)));
            }
            for (Future<RecordMetadata> ack : acks) {
                RecordMetadata metadata = ack.get();
                long offset = metadata.hasOffset() ? metadata.offset() : -1;
                out.println(metadata.topic() + "\t" + metadata.partition() + "\t" + offset);
            }
        }
    }

    private static void produceBy(List<String> arguments) throws Exception {
        ByteArraySerializer bytes = new ByteArraySerializer();
        for (int at = 0; at < arguments.size(); at += 2) {
            Properties properties = new Properties();
            try (Reader reader = Files.newBufferedReader(Path.of(arguments.get(at + 1)))) {
                properties.load(reader);
            }
            try (KafkaProducer<byte[], byte[]> producer =
                     new KafkaProducer<>(properties, bytes, bytes)) {
                RecordMetadata ack = producer.send(text(arguments.get(at), 0, "java")).get();
                System.out.println(ack.topic() + "\t" + ack.partition() + "\t" + ack.offset());
            }
        }
    }

    private static KafkaProducer<byte[], byte[]> producer(String brokers, List<String> settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        settings.forEach(setting -> put(properties, setting));
        ByteArraySerializer bytes = new ByteArraySerializer();
        return new KafkaProducer<>(properties, bytes, bytes);
    }

    private static ProducerRecord<byte[], byte[]> record(String line) {
        String[] field = line.split("\t", -1);
        Integer partition = field[1].equals(NULL) ? null : Integer.valueOf(field[1]);
        Long timestamp = field[3].equals(NULL) ? null : Long.valueOf(field[3]);
        ProducerRecord<byte[], byte[]> record =
            new ProducerRecord<>(field[0], partition, timestamp, bytes(field[4]), bytes(field[5]));
        if (!field[6].isEmpty()) {
            for (String header : field[6].split(",")) {
                int equals = header.indexOf('=');
                byte[] name = HEX.parseHex(header.substring(0, equals));
                record.headers().add(
                    new String(name, StandardCharsets.UTF_8), bytes(header.substring(equals + 1)));
            }
        }
        return record;
    }

    // --- consume ---

    private static void consume(String brokers, List<String> arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        arguments.stream().filter(a -> a.contains("=")).forEach(a -> put(properties, a));
        List<String> topics = arguments.stream().filter(a -> !a.contains("=")).toList();
        PrintStream out = standardOutput();
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(properties, bytes, bytes)) {
            List<TopicPartition> partitions = new ArrayList<>();
            topics.forEach(topic -> consumer.partitionsFor(topic)
                .forEach(p -> partitions.add(new TopicPartition(topic, p.partition()))));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> end = consumer.endOffsets(partitions);
            long deadline = System.nanoTime() + Duration.ofSeconds(90).toNanos();
            while (!reached(consumer, end)) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("the end was not reached in 90 s: " + end);
                }
                consumer.poll(Duration.ofMillis(200)).forEach(record -> out.println(line(record)));
            }
        }
        out.flush();
    }

    private static boolean reached(KafkaConsumer<?, ?> consumer, Map<TopicPartition, Long> end) {
        return end.entrySet().stream().allMatch(e -> consumer.position(e.getKey()) >= e.getValue());
    }

    private static String line(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder headers = new StringBuilder();
        for (Header header : record.headers()) {
            headers.append(headers.isEmpty() ? "" : ",")
                .append(HEX.formatHex(header.key().getBytes(StandardCharsets.UTF_8)))
                .append('=').append(hex(header.value()));
        }
        return record.topic() + "\t" + record.partition() + "\t" + record.offset()
            + "\t" + record.timestamp() + "\t" + hex(record.key()) + "\t" + hex(record.value())
            + "\t" + headers;
    }

    // --- settings: client, name, type, default, importance ---

    private static void settings(String whose) throws Exception {
        PrintStream out = standardOutput();
        if (whose.equals("broker")) {
            Class<?> broker = Class.forName("kafka.server.KafkaConfig");
            settings(out, "B", (ConfigDef) broker.getMethod("configDef").invoke(null));
            out.flush();
            return;
        }
        settings(out, "P", ProducerConfig.configDef());
        settings(out, "C", ConsumerConfig.configDef());
        settings(out, "A", AdminClientConfig.configDef());
        out.flush();
    }

    private static void settings(PrintStream out, String client, ConfigDef settings) {
        for (ConfigDef.ConfigKey key : settings.configKeys().values()) {
            if (!key.internalConfig) {
                Object value = key.defaultValue;
                String printed = value == null ? "null" : "\"" + value + "\"";
                String text = key.hasDefault() ? printed : "REQUIRED";
                out.println(client + "\t" + key.name + "\t" + key.type + "\t" + text
                    + "\t" + key.importance);
            }
        }
    }

    // --- endure: numbered records until stdin closes, each ack written down ---

    private static void endure(String brokers, List<String> arguments) throws Exception {
        String topic = arguments.get(0);
        int partitions = Integer.parseInt(arguments.get(1));
        long rate = Long.parseLong(arguments.get(2));
        AtomicBoolean closed = watchStandardInput();
        AtomicLong failed = new AtomicLong();
        AtomicLong acked = new AtomicLong();
        long sent = 0;
        List<String> settings = arguments.subList(4, arguments.size());
        try (Writer log = Files.newBufferedWriter(Path.of(arguments.get(3)));
             KafkaProducer<byte[], byte[]> producer = producer(brokers, settings)) {
            long start = System.nanoTime();
            while (!closed.get()) {
                int partition = (int) (sent % partitions);
                String number = Long.toString(sent / partitions);
                byte[] value = number.getBytes(StandardCharsets.UTF_8);
                producer.send(new ProducerRecord<>(topic, partition, null, value), (ack, error) -> {
                    if (error == null) {
                        write(log, ack.partition() + "\t" + ack.offset() + "\t" + number + "\n");
                        acked.incrementAndGet();
                    } else if (failed.getAndIncrement() == 0) {
                        System.err.println("failed: " + partition + ":" + number + " " + error);
                    }
                });
                sent++;
                LockSupport.parkNanos(start + sent * 1_000_000_000L / rate - System.nanoTime());
            }
            producer.flush();
        }
        System.out.println(sent + "\t" + acked + "\t" + failed);
    }

    private static AtomicBoolean watchStandardInput() {
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
        return closed;
    }

    private static synchronized void write(Writer log, String line) {
        try {
            log.write(line);
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    // --- transact: everything a transactional producer does, each said on a line ---

    private static void transact(String brokers, List<String> arguments) throws Exception {
        String in = arguments.get(0);
        String out = arguments.get(1);
        String group = arguments.get(2);
        List<String> settings = new ArrayList<>(arguments.subList(3, arguments.size()));
        settings.add("transactional.id=" + out);
        KafkaProducer<byte[], byte[]> producer = producer(brokers, settings);
        producer.initTransactions();
        for (int round = 0; round < 6; round++) {
            producer.beginTransaction();
            for (int i = 0; i < 10; i++) {
                producer.send(text(out, i % 3, (round % 3 == 1 ? "aborted-" : "kept-") + round));
            }
            if (round % 3 == 1) {
                producer.flush();
                producer.abortTransaction();
            } else {
                commit(producer);
            }
        }
        TopicPartition source = new TopicPartition(in, 0);
        ConsumerGroupMetadata metadata = new ConsumerGroupMetadata(group);
        for (boolean commits : new boolean[] {true, false}) {
            producer.beginTransaction();
            producer.send(text(out, 0, commits ? "kept-offsets" : "aborted-offsets"));
            long offset = commits ? 7 : 9;
            producer.sendOffsetsToTransaction(
                Map.of(source, new OffsetAndMetadata(offset)), metadata);
            if (commits) {
                commit(producer);
            } else {
                producer.abortTransaction();
            }
        }
        System.out.println("offset\t" + committedOffset(brokers, group, source));
        producer.beginTransaction();
        producer.send(text(out, 1, "aborted-fenced")).get();
        try (KafkaProducer<byte[], byte[]> newer = producer(brokers, settings)) {
            newer.initTransactions();
            newer.beginTransaction();
            newer.send(text(out, 1, "kept-newer"));
            commit(newer);
        }
        try {
            producer.send(text(out, 1, "aborted-late"));
            commit(producer);
            System.out.println("fenced\tno");
        } catch (KafkaException e) {
            System.out.println("fenced\t" + isFenced(e));
        }
        producer.close(Duration.ZERO);
    }

    /**
     * Flushes before it commits. The client's I/O thread asks whether batches are left and takes
     * the commit out of its queue in two steps: records sent and committed in between are overtaken
     * by their own commit, which then ends a transaction that the broker knows nothing of.
     */
    private static void commit(KafkaProducer<byte[], byte[]> producer) {
        producer.flush();
        producer.commitTransaction();
    }

    private static boolean isFenced(Throwable error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof ProducerFencedException
                || cause instanceof InvalidProducerEpochException) {
                return true;
            }
        }
        return false;
    }

    private static long committedOffset(String brokers, String group, TopicPartition partition) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        properties.put("group.id", group);
        properties.put("isolation.level", "read_committed");
        ByteArrayDeserializer bytes = new ByteArrayDeserializer();
        try (KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(properties, bytes, bytes)) {
            return consumer.committed(Set.of(partition)).get(partition).offset();
        }
    }

    private static ProducerRecord<byte[], byte[]> text(String topic, int partition, String value) {
        byte[] bytes = value.getBytes(StandardCharsets.UTF_8);
        return new ProducerRecord<>(topic, partition, null, bytes);
    }

    // --- endure-transactions: each transaction writes its number to every partition ---

    private static void endureTransactions(String brokers, List<String> arguments)
            throws Exception {
        String topic = arguments.get(0);
        int partitions = Integer.parseInt(arguments.get(1));
        AtomicBoolean closed = watchStandardInput();
        List<String> settings = new ArrayList<>(arguments.subList(3, arguments.size()));
        settings.add("transactional.id=" + topic);
        try (Writer log = Files.newBufferedWriter(Path.of(arguments.get(2)));
             KafkaProducer<byte[], byte[]> producer = producer(brokers, settings)) {
            producer.initTransactions();
            for (long number = 0; !closed.get(); number++) {
                boolean commits = number % 4 != 3;
                producer.beginTransaction();
                for (int partition = 0; partition < partitions; partition++) {
                    String value = (commits ? "kept-" : "aborted-") + number;
                    producer.send(text(topic, partition, value));
                }
                if (commits) {
                    commit(producer);
                    write(log, "kept-" + number + "\n");
                    log.flush();
                } else {
                    producer.flush();
                    producer.abortTransaction();
                }
            }
        }
    }

    // --- words ---

    private static PrintStream standardOutput() {
        BufferedOutputStream buffered = new BufferedOutputStream(System.out, 1 << 16);
        return new PrintStream(buffered, false, StandardCharsets.UTF_8);
    }

    private static void put(Properties properties, String setting) {
        int equals = setting.indexOf('=');
        properties.put(setting.substring(0, equals), setting.substring(equals + 1));
    }

    private static byte[] bytes(String hex) {
        return hex.equals(NULL) ? null : HEX.parseHex(hex);
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? NULL : HEX.formatHex(bytes);
    }
}
