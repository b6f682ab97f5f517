package io.cloister.spark.broker;

import org.apache.hadoop.security.AccessControlException;

/**
 * The key broker refused, or could not be asked. Of this kind for the reason that {@link
 * io.cloister.spark.sealed.SealedException} is: Spark must not skip what it was refused.
 */
public final class BrokerException extends AccessControlException {
  /** The broker's codes; `PROTOCOL` is ours, for a broker that answers out of order. */
  public enum Code {
    MALFORMED,
    UNKNOWN_INPUT,
    UNKNOWN_OUTPUT,
    UNKNOWN_FILE,
    DENIED,
    UNAVAILABLE,
    PART,
    PROTOCOL
  }

  private final Code code;

  public BrokerException(Code code, String message) {
    super(code + ": " + message);
    this.code = code;
  }

  public BrokerException(Code code, String message, Throwable cause) {
    this(code, message);
    initCause(cause);
  }

  public Code code() {
    return code;
  }
}
