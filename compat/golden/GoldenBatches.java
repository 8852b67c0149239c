// Prints record batches made by Apache Kafka's own classes, which the tests of
// crates/protocol read (tests/golden/*.hex) and, uncompressed, must write byte for byte.
//
// KAFKA is the directory of an Apache Kafka 4.3 distribution's jars (Java 17):
//
//   javac -cp "$KAFKA/*" -d /tmp/golden compat/golden/GoldenBatches.java
//   java -cp "$KAFKA/*:/tmp/golden" GoldenBatches crates/protocol/tests/golden
//   java -cp "$KAFKA/*:/tmp/golden" GoldenBatches --check FILE.hex...
//
// The second line rewrites the golden files. The third reads batches that someone else wrote,
// with Kafka's reader, and prints what it found.

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.Utils;

public class GoldenBatches {
    static final long TIME = 1_700_000_000_000L;

    public static void main(String[] args) throws IOException {
        if (args.length > 1 && args[0].equals("--check")) {
            for (String file : Arrays.copyOfRange(args, 1, args.length)) {
                check(Path.of(file));
            }
            return;
        }
        Path directory = Path.of(args[0]);
        for (CompressionType type : CompressionType.values()) {
            Compression codec = Compression.of(type).build();
            write(directory, "mixed-" + type.name, mixed(codec));
            write(directory, "transactional-" + type.name, transactional(codec));
            if (type != CompressionType.NONE) {
                write(directory, "large-" + type.name, large(codec));
            }
        }
        write(directory, "log-append-time", logAppendTime());
        write(directory, "commit-marker", marker(ControlRecordType.COMMIT));
        write(directory, "abort-marker", marker(ControlRecordType.ABORT));
        murmur2(directory);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    // As a producer without idempotence builds it.
    static MemoryRecordsBuilder builder(Compression codec) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2,
            codec, TimestampType.CREATE_TIME, 0L, RecordBatch.NO_TIMESTAMP,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE,
            false, RecordBatch.NO_PARTITION_LEADER_EPOCH);
    }

    static MemoryRecords mixed(Compression codec) {
        MemoryRecordsBuilder builder = builder(codec);
        builder.append(TIME, utf8("key"), utf8("value"));
        builder.append(TIME + 1, (byte[]) null, utf8("no key"));
        builder.append(TIME - 5_000, utf8("no value"), (byte[]) null);
        builder.append(TIME + 86_400_000L, new byte[0], new byte[0]);
        builder.append(TIME, (byte[]) null, (byte[]) null);
        builder.append(TIME + 2, utf8("headers"), utf8("h"), new Header[] {
            new RecordHeader("repeated", utf8("1")),
            new RecordHeader("other", (byte[]) null),
            new RecordHeader("repeated", new byte[0]),
            new RecordHeader("", utf8("2")),
            new RecordHeader("gr\u00fc\u00dfe \u4e16\u754c", utf8("\u4e16")),
            new RecordHeader("repeated", utf8("1")),
        });
        byte[] longKey = new byte[200];
        Arrays.fill(longKey, (byte) 'k');
        byte[] longValue = new byte[20_000];
        Arrays.fill(longValue, (byte) 'v');
        builder.append(TIME + 3, longKey, longValue);
        for (int index = 0; index < 100; index++) {
            builder.append(TIME + 10L * index, utf8("user-" + index % 7),
                utf8("{\"event\":" + index + ",\"type\":\"view\"}"));
        }
        return builder.build();
    }

    static MemoryRecords transactional(Compression codec) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16),
            RecordBatch.MAGIC_VALUE_V2, codec, TimestampType.CREATE_TIME, 0L,
            RecordBatch.NO_TIMESTAMP, 4_711_000_000_000L, (short) 32_766, 2_147_483_646, true,
            RecordBatch.NO_PARTITION_LEADER_EPOCH);
        for (int index = 0; index < 3; index++) {
            builder.append(TIME + index, utf8("k" + index), utf8("v" + index));
        }
        return builder.build();
    }

    // More than one block of each codec's framing.
    static MemoryRecords large(Compression codec) {
        MemoryRecordsBuilder builder = builder(codec);
        byte[] value = new byte[50_000];
        for (int record = 0; record < 4; record++) {
            for (int index = 0; index < value.length; index++) {
                value[index] = (byte) ((index * (record + 3)) >> 7);
            }
            builder.append(TIME + record, utf8("large-" + record), value);
        }
        return builder.build();
    }

    static MemoryRecords logAppendTime() {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 12),
            RecordBatch.MAGIC_VALUE_V2, Compression.NONE, TimestampType.LOG_APPEND_TIME, 5_000L,
            TIME + 77, RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH,
            RecordBatch.NO_SEQUENCE, false, 12);
        builder.append(TIME, utf8("a"), utf8("1"));
        builder.append(TIME + 1, utf8("b"), utf8("2"));
        return builder.build();
    }

    static MemoryRecords marker(ControlRecordType type) {
        return MemoryRecords.withEndTransactionMarker(0L, TIME,
            RecordBatch.NO_PARTITION_LEADER_EPOCH, 4_711L, (short) 3,
            new EndTransactionMarker(type, 21));
    }

    static void murmur2(Path directory) throws IOException {
        StringBuilder lines = new StringBuilder();
        byte[] key = new byte[0];
        for (int length = 0; length <= 40; length++) {
            line(lines, key);
            key = Arrays.copyOf(key, length + 1);
            key[length] = (byte) (length * 37 + 200);
        }
        for (String text : new String[] {"21", "foobar", "a-little-bit-long-string",
            "a-little-bit-longer-string", "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            "user-1", "gr\u00fc\u00dfe \u4e16\u754c"}) {
            line(lines, utf8(text));
        }
        Files.writeString(directory.resolve("murmur2.txt"), lines);
    }

    static void line(StringBuilder lines, byte[] key) {
        lines.append(HexFormat.of().formatHex(key)).append(' ')
            .append(Integer.toUnsignedString(Utils.murmur2(key))).append(' ')
            .append(Utils.toPositive(Utils.murmur2(key)) % 12).append('\n');
    }

    static void write(Path directory, String name, MemoryRecords records) throws IOException {
        ByteBuffer buffer = records.buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        String hex = HexFormat.of().formatHex(bytes);
        StringBuilder lines = new StringBuilder();
        for (int at = 0; at < hex.length(); at += 160) {
            lines.append(hex, at, Math.min(hex.length(), at + 160)).append('\n');
        }
        Files.writeString(directory.resolve(name + ".hex"), lines);
    }

    static void check(Path file) throws IOException {
        String hex = Files.readString(file).replace("\n", "");
        MemoryRecords records =
            MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(hex)));
        for (MutableRecordBatch batch : records.batches()) {
            batch.ensureValid();
            int count = 0;
            for (Record record : batch) {
                record.ensureValid();
                count++;
            }
            System.out.println(file.getFileName() + " " + batch.compressionType().name + " "
                + batch.baseOffset() + ".." + batch.lastOffset() + " records " + count);
        }
    }
}
