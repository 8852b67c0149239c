// Kafka Streams: counts words exactly once, by a repartition topic and a store with a changelog.
//
//   WordCount BROKERS NAME IN OUT STATE_DIRECTORY      until stdin closes
//
// Each word makes one record in OUT: "WORD COUNT". Killed and started again under the same NAME it
// goes on where it was.

import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.Stores;

public final class WordCount {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("application.id", args[1]);
        settings.put("state.dir", args[4]);
        settings.put("processing.guarantee", "exactly_once_v2");
        settings.put("replication.factor", 1);
        settings.put("default.key.serde", Serdes.StringSerde.class);
        settings.put("default.value.serde", Serdes.StringSerde.class);
        settings.put("commit.interval.ms", 100);
        // Each count is written, not only the last of some time.
        settings.put("statestore.cache.max.bytes", 0);
        settings.put("consumer.auto.offset.reset", "earliest");
        // A member that comes back is known at once, and what a killed one left open ends soon.
        settings.put("group.instance.id", args[1]);
        settings.put("session.timeout.ms", 6000);
        settings.put("producer.transaction.timeout.ms", 4000);
        settings.put("reconnect.backoff.max.ms", 100);

        StreamsBuilder words = new StreamsBuilder();
        words.<String, String>stream(args[2])
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word)
            .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts"))
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long()))
            .toStream()
            .map((word, count) -> KeyValue.pair(word, word + " " + count))
            .to(args[3]);
        KafkaStreams streams = new KafkaStreams(words.build(), settings);
        streams.setUncaughtExceptionHandler(thrown -> {
            thrown.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
        });
        streams.start();
        System.in.readAllBytes();
        streams.close(Duration.ofSeconds(20));
    }
}
