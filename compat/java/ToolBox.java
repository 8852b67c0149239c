// Runs many of Apache Kafka's command-line tools in one JVM, as each start of one takes a second.
//
//   ToolBox BROKERS      a call a line on stdin: CLASS ARGUMENT ..., separated by tabs
//
// After each call: what it printed on either stream, then a line "@@ STATUS". BROKERS in an
// argument stands for their addresses. A class that begins with a small letter is one of ours:
//
//   begin TOPIC ID       begins a transaction, writes a record, and leaves it open
//   wait MS              waits
//   exhaust ID NAME      makes topics NAME-0, NAME-1 .. as the client ID until its quota refuses
//   create ID NAME COUNT makes a topic with so many partitions, and waits for the quota if need be

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.errors.ThrottlingQuotaExceededException;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;

public final class ToolBox {
    /** What a tool does instead of ending this process. */
    private static final class Ended extends RuntimeException {
        final int status;

        Ended(int status) {
            super(null, null, false, false);
            this.status = status;
        }
    }

    private static final List<KafkaProducer<String, String>> OPEN = new ArrayList<>();

    /** How the tool would have ended first: some take what is thrown then for an error. */
    private static Integer ended;

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        Exit.setExitProcedure((status, message) -> {
            if (message != null) {
                System.err.println(message);
            }
            throw end(status);
        });
        Exit.setHaltProcedure((status, message) -> {
            throw end(status);
        });
        BufferedReader calls =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = calls.readLine(); line != null; line = calls.readLine()) {
            String[] words = line.replace("BROKERS", args[0]).split("\t");
            ByteArrayOutputStream said = new ByteArrayOutputStream();
            PrintStream both = new PrintStream(said, true, StandardCharsets.UTF_8);
            System.setOut(both);
            System.setErr(both);
            System.setIn(new ByteArrayInputStream(new byte[0]));
            ended = null;
            int status = call(args[0], words[0], Arrays.copyOfRange(words, 1, words.length));
            if (ended != null) {
                status = ended;
            }
            both.flush();
            out.println(said.toString(StandardCharsets.UTF_8).stripTrailing());
            out.println("@@ " + status);
            out.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static Ended end(int status) {
        if (ended == null) {
            ended = status;
        }
        return new Ended(status);
    }

    private static int call(String brokers, String name, String[] arguments) {
        try {
            switch (name) {
                case "begin" -> begin(brokers, arguments[0], arguments[1]);
                case "exhaust" -> exhaust(brokers, arguments[0], arguments[1]);
                case "create" -> create(brokers, arguments[0], arguments[1], arguments[2]);
                case "wait" -> Thread.sleep(Long.parseLong(arguments[0]));
                default -> Class.forName(name)
                    .getMethod("main", String[].class)
                    .invoke(null, (Object) arguments);
            }
            return 0;
        } catch (InvocationTargetException thrown) {
            return status(thrown.getCause());
        } catch (Exception thrown) {
            return status(thrown);
        }
    }

    private static int status(Throwable thrown) {
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            if (cause instanceof Ended ended) {
                return ended.status;
            }
        }
        thrown.printStackTrace();
        return 99;
    }

    private static Admin admin(String brokers, String id) {
        return Admin.create(Map.of("bootstrap.servers", brokers, "client.id", id));
    }

    private static NewTopic topic(String name, int partitions) {
        return new NewTopic(name, Optional.of(partitions), Optional.empty());
    }

    private static void exhaust(String brokers, String id, String name) throws Exception {
        CreateTopicsOptions atOnce = new CreateTopicsOptions().retryOnQuotaViolation(false);
        try (Admin admin = admin(brokers, id)) {
            for (int made = 0; made < 20; made++) {
                admin.createTopics(List.of(topic(name + "-" + made, 1)), atOnce).all().get();
                System.out.println("made " + made);
            }
        } catch (ExecutionException refused) {
            Throwable cause = refused.getCause();
            System.out.println(cause.getClass().getSimpleName());
            if (cause instanceof ThrottlingQuotaExceededException quota) {
                System.out.println("is to wait: " + (quota.throttleTimeMs() > 0));
            }
        }
    }

    private static void create(String brokers, String id, String name, String partitions)
            throws Exception {
        try (Admin admin = admin(brokers, id)) {
            admin.createTopics(List.of(topic(name, Integer.parseInt(partitions)))).all().get();
        }
        System.out.println("made " + name);
    }

    private static void begin(String brokers, String topic, String id) throws Exception {
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", brokers,
            "transactional.id", id,
            "transaction.timeout.ms", 600000);
        KafkaProducer<String, String> producer =
            new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, "key", "never to be committed")).get();
        OPEN.add(producer);
    }
}
