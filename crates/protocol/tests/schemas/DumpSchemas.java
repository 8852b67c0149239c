// Prints the layout of every message in kafka-clients, one line per API, direction and versions.
// How kafka-4.3.txt beside it was made:
//   javac -cp 'kafka-clients-4.3.0.jar' DumpSchemas.java
//   java -cp 'kafka-clients-4.3.0.jar:.' DumpSchemas > kafka-4.3.txt
// The grammar of a line is in tests/schema/mod.rs, which reads it.

import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

public class DumpSchemas {
    // The APIs that clients send to brokers and that Streamledger knows.
    private static final Set<Integer> KEYS = Set.of(
        0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
        28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 55, 57, 60,
        61, 64, 65, 66, 68, 69, 71, 72, 74, 75);

    public static void main(String[] args) {
        for (ApiMessageType api : ApiMessageType.values()) {
            if (KEYS.contains((int) api.apiKey())) {
                dump(api, "request", api.requestSchemas());
                dump(api, "response", api.responseSchemas());
            }
        }
    }

    private static void dump(ApiMessageType api, String direction, Schema[] schemas) {
        int first = api.lowestSupportedVersion();
        int last = api.highestSupportedVersion(false);
        for (int from = first; from <= last; from++) {
            String layout = layout(api, schemas, from);
            int to = from;
            while (to < last && layout.equals(layout(api, schemas, to + 1))) {
                to++;
            }
            System.out.printf("%d %s %s %d-%d %s%n",
                api.apiKey(), api.name, direction, from, to, layout);
            from = to;
        }
    }

    private static String layout(ApiMessageType api, Schema[] schemas, int version) {
        boolean flexible = api.requestHeaderVersion((short) version) >= 2;
        return (flexible ? "flexible " : "rigid ") + struct(schemas[version]);
    }

    private static String struct(Schema schema) {
        List<String> fields = new ArrayList<>();
        for (BoundField field : schema.fields()) {
            if (field.def.type instanceof TaggedFields) {
                for (Map.Entry<Integer, Field> tagged
                        : ((TaggedFields) field.def.type).fields().entrySet()) {
                    fields.add("#" + tagged.getKey() + ":" + field(tagged.getValue()));
                }
            } else {
                fields.add(field(field.def));
            }
        }
        return "{" + String.join(",", fields) + "}";
    }

    private static String field(Field field) {
        return field.name + ":" + type(field.type);
    }

    private static String type(Type type) {
        String nullable = type.isNullable() ? "?" : "";
        if (type.isArray()) {
            return nullable + "[" + type(type.arrayElementType().get()) + "]";
        }
        if (type instanceof Schema) {
            return nullable + struct((Schema) type);
        }
        return nullable + type.toString().toLowerCase()
            .replace("compact_", "").replace("nullable_", "");
    }
}
