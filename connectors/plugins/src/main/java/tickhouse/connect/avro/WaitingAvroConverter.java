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

  /** The client drops the cause of what went wrong on the way, so all but its "not found" counts as away. */
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
