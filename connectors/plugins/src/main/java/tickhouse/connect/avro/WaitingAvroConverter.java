package tickhouse.connect.avro;

import io.apicurio.registry.utils.converter.AvroConverter;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.errors.RetriableException;

/**
 * Apicurio's Avro converter, but a registry that is away is no fault of the record.
 *
 * <p>It throws {@link RetriableException} then; with {@code errors.retry.timeout=-1} Connect asks again until the registry
 * answers. Bytes that do not decode and ids that the registry does not know stay errors, and go to the dead letters.
 */
public final class WaitingAvroConverter extends AvroConverter<Object> {
  @Override
  public SchemaAndValue toConnectData(String topic, byte[] value) {
    try {
      return super.toConnectData(topic, value);
    } catch (RuntimeException error) {
      throw judged(error);
    }
  }

  @Override
  public SchemaAndValue toConnectData(String topic, Headers headers, byte[] value) {
    try {
      return super.toConnectData(topic, headers, value);
    } catch (RuntimeException error) {
      throw judged(error);
    }
  }

  static RuntimeException judged(RuntimeException error) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      boolean isAway = cause instanceof java.net.SocketException
          || cause instanceof java.net.http.HttpTimeoutException
          || cause instanceof java.nio.channels.ClosedChannelException
          || isServerError(cause);
      if (isAway) {
        return new RetriableException("The schema registry is away: " + cause, error);
      }
    }
    return error;
  }

  private static boolean isServerError(Throwable cause) {
    return cause instanceof io.apicurio.rest.client.error.ApicurioRestClientException && cause.getCause() instanceof IOException
        || cause instanceof UncheckedIOException io && io.getCause() instanceof java.net.ConnectException;
  }
}
