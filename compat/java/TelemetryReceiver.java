// A broker's plug-in for client telemetry (KIP-714): writes each metric it receives as a line.
//
// Set up by metric.reporters=TelemetryReceiver and telemetry.receiver.file=PATH. A line has, with a
// tab between: client id, client instance id, terminating, the resource's attributes, name, kind
// (gauge, delta, cumulative), labels, value. A push without metrics is a line that ends after the
// attributes.

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.common.metrics.KafkaMetric;
import org.apache.kafka.common.metrics.MetricsReporter;
import org.apache.kafka.server.telemetry.ClientTelemetryContext;
import org.apache.kafka.server.telemetry.ClientTelemetryExporter;
import org.apache.kafka.server.telemetry.ClientTelemetryExporterProvider;
import org.apache.kafka.server.telemetry.ClientTelemetryPayload;
import org.apache.kafka.shaded.com.google.protobuf.ByteString;
import org.apache.kafka.shaded.com.google.protobuf.InvalidProtocolBufferException;
import org.apache.kafka.shaded.io.opentelemetry.proto.common.v1.KeyValue;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.AggregationTemporality;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.Metric;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.MetricsData;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.NumberDataPoint;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.ResourceMetrics;
import org.apache.kafka.shaded.io.opentelemetry.proto.metrics.v1.ScopeMetrics;

public final class TelemetryReceiver
        implements MetricsReporter, ClientTelemetryExporterProvider, ClientTelemetryExporter {
    private Path file;

    @Override
    public void configure(Map<String, ?> configs) {
        file = Path.of((String) configs.get("telemetry.receiver.file"));
    }

    @Override
    public ClientTelemetryExporter clientTelemetryExporter() {
        return this;
    }

    @Override
    public void exportMetrics(ClientTelemetryContext context, ClientTelemetryPayload payload) {
        StringBuilder lines = new StringBuilder();
        String clientId = context.authorizableRequestContext().clientId();
        String push = String.join("\t", clientId, payload.clientInstanceId().toString(),
            String.valueOf(payload.isTerminating()));
        try {
            MetricsData data = MetricsData.parseFrom(ByteString.copyFrom(payload.data()));
            for (ResourceMetrics resource : data.getResourceMetricsList()) {
                String of = push + "\t" + attributes(resource.getResource().getAttributesList());
                lines.append(resource.getScopeMetricsCount() == 0 ? of + "\n" : "");
                for (ScopeMetrics scope : resource.getScopeMetricsList()) {
                    for (Metric metric : scope.getMetricsList()) {
                        append(lines, of, metric);
                    }
                }
            }
            // An empty line says that this push is whole.
            write(lines.append('\n').toString());
        } catch (InvalidProtocolBufferException e) {
            write(push + "\tnot understood: " + e.getMessage() + "\n");
            throw new IllegalArgumentException(e);
        }
    }

    private static void append(StringBuilder lines, String of, Metric metric) {
        String kind = "gauge";
        List<NumberDataPoint> points = metric.getGauge().getDataPointsList();
        if (metric.hasSum()) {
            AggregationTemporality temporality = metric.getSum().getAggregationTemporality();
            boolean isDelta =
                temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA;
            kind = isDelta ? "delta" : "cumulative";
            points = metric.getSum().getDataPointsList();
        }
        for (NumberDataPoint point : points) {
            lines.append(String.join("\t", of, metric.getName(), kind,
                attributes(point.getAttributesList()), String.valueOf(point.getAsDouble())));
            lines.append('\n');
        }
    }

    private static String attributes(List<KeyValue> attributes) {
        return attributes.stream()
            .map(pair -> pair.getKey() + "=" + pair.getValue().getStringValue())
            .collect(Collectors.joining(","));
    }

    private synchronized void write(String lines) {
        try {
            Files.writeString(file, lines, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void init(List<KafkaMetric> metrics) {
    }

    @Override
    public void metricChange(KafkaMetric metric) {
    }

    @Override
    public void metricRemoval(KafkaMetric metric) {
    }

    @Override
    public void close() {
    }
}
