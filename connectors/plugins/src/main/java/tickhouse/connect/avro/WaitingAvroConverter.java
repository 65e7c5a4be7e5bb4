package tickhouse.connect.avro;

import io.apicurio.registry.rest.client.exception.NotFoundException;
import io.apicurio.registry.rest.client.exception.RestClientException;
import io.apicurio.registry.utils.converter.AvroConverter;
import java.net.SocketException;
import java.net.http.HttpTimeoutException;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.errors.RetriableException;

/**
 * Apicurio's Avro converter that waits for an unavailable registry.
 *
 * <p>It throws {@link RetriableException} then; with {@code errors.retry.timeout=-1} Connect retries until the registry
 * responds. Bytes that cannot be decoded and ids that the registry does not know remain errors, and the records become dead
 * letters.
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

  /** The client hides the cause of a network error, so every error except "not found" counts as an unavailable registry. */
  static RuntimeException judged(RuntimeException error) {
    for (Throwable cause = error; cause != null; cause = cause.getCause()) {
      if (cause instanceof NotFoundException) {
        return error;
      }
      if (cause instanceof RestClientException || cause instanceof SocketException || cause instanceof HttpTimeoutException) {
        return new RetriableException("The schema registry is away: " + cause, error);
      }
    }
    return error;
  }
}
