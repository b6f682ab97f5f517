package io.cloister.spark.sealed;

import static io.cloister.spark.sealed.SealedException.Code.HEADER;
import static io.cloister.spark.sealed.SealedException.Code.HEADER_MAC;
import static io.cloister.spark.sealed.SealedException.Code.LIMIT;
import static io.cloister.spark.sealed.SealedException.Code.MAGIC;
import static io.cloister.spark.sealed.SealedException.Code.NO_SLOT;
import static io.cloister.spark.sealed.SealedException.Code.TRAILING_BYTES;
import static io.cloister.spark.sealed.SealedException.Code.TRUNCATED;
import static io.cloister.spark.sealed.SealedException.Code.VERSION;

import com.google.crypto.tink.subtle.Hkdf;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * A well-formed header, which nothing has authenticated before {@link #verify}.
 *
 * @param length of the whole header, and so the offset of the payload
 * @param fixedBytes the fixed part: the payload's associated data
 * @param macInput everything that the MAC covers
 */
public record SealedHeader(
    FixedPart fixed, List<Slot> slots, int length, byte[] fixedBytes, byte[] macInput, byte[] mac) {
  static final byte[] MAGIC_BYTES = "CLOISTER".getBytes(StandardCharsets.US_ASCII);
  static final int FORMAT_VERSION = 1;
  static final int PREFIX_LENGTH = 18;
  static final int ALIGNMENT = 4096;
  static final int MAX_LENGTH = 65_536;
  public static final int MAX_FIXED_LENGTH = 1024;
  static final int MAX_SLOTS = 256;
  static final int MAX_WRAPPED_DEK = 4096;
  static final int MAC_LENGTH = 32;

  private static final byte[] MAC_INFO =
      "cloister sealed v1 header mac".getBytes(StandardCharsets.US_ASCII);
  private static final Pattern NAME = Pattern.compile("[!-~]{1,255}");

  /** The fixed part's bytes for a header of this length. */
  public static byte[] encodeFixed(FixedPart fixed, int headerLength) {
    byte[] json = fixed.encode();
    return ByteBuffer.allocate(PREFIX_LENGTH + json.length)
        .put(MAGIC_BYTES)
        .putShort((short) FORMAT_VERSION)
        .putInt(headerLength)
        .putInt(json.length)
        .put(json)
        .array();
  }

  /** The length of the shortest header that holds this fixed part and these slots. */
  public static int lengthFor(FixedPart fixed, List<Slot> slots) throws SealedException {
    int needed = encodeFixed(fixed, 0).length + encodeSlots(slots).length + MAC_LENGTH;
    int length = (needed + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (length > MAX_LENGTH) {
      throw new SealedException(
          LIMIT, "header: wanted at most " + MAX_LENGTH + " bytes, seen " + needed);
    }
    return length;
  }

  /** Encodes a header and its MAC into {@code headerLength} bytes. */
  public static byte[] encode(byte[] fixedBytes, List<Slot> slots, int headerLength, Dek dek)
      throws SealedException {
    byte[] encodedSlots = encodeSlots(slots);
    if (fixedBytes.length + encodedSlots.length + MAC_LENGTH > headerLength) {
      throw new SealedException(LIMIT, "the slots do not fit in " + headerLength + " bytes");
    }
    ByteBuffer header = ByteBuffer.allocate(headerLength).put(fixedBytes).put(encodedSlots);
    header.put(mac(dek, Arrays.copyOf(header.array(), header.position())));
    return header.array();
  }

  /** Returns how long the header is that begins with these {@value #PREFIX_LENGTH} bytes. */
  static int lengthOf(byte[] prefix) throws SealedException {
    ByteBuffer in = ByteBuffer.wrap(prefix);
    if (in.remaining() < PREFIX_LENGTH) throw new SealedException(TRUNCATED, "no whole header");
    byte[] magic = new byte[MAGIC_BYTES.length];
    in.get(magic);
    if (!Arrays.equals(magic, MAGIC_BYTES)) throw new SealedException(MAGIC, "not a sealed file");
    int version = Short.toUnsignedInt(in.getShort());
    if (version != FORMAT_VERSION) {
      throw new SealedException(
          VERSION, "format version: wanted " + FORMAT_VERSION + ", seen " + version);
    }
    long length = Integer.toUnsignedLong(in.getInt());
    if (length < ALIGNMENT || length > MAX_LENGTH || length % ALIGNMENT != 0) {
      throw new SealedException(LIMIT, "a header cannot be " + length + " bytes long");
    }
    long jsonLength = Integer.toUnsignedLong(in.getInt());
    if (PREFIX_LENGTH + jsonLength > MAX_FIXED_LENGTH) {
      throw new SealedException(LIMIT, "the fixed part is longer than " + MAX_FIXED_LENGTH);
    }
    return (int) length;
  }

  /** The fixed part's bytes, of at least as many bytes of a file's begin. */
  public static byte[] fixedBytesOf(byte[] begin) throws SealedException {
    lengthOf(begin);
    int end = PREFIX_LENGTH + ByteBuffer.wrap(begin).getInt(PREFIX_LENGTH - Integer.BYTES);
    if (begin.length < end) throw new SealedException(TRUNCATED, "the header is cut off");
    return Arrays.copyOf(begin, end);
  }

  /** The length of the plaintext in a file of this length and fixed part. */
  public static long plaintextLength(byte[] fixedBytes, long fileLength) throws SealedException {
    int headerLength = lengthOf(fixedBytes);
    return PayloadLayout.of(fileLength - headerLength, parseFixed(fixedBytes).segmentSize())
        .plaintextLength();
  }

  private static FixedPart parseFixed(byte[] fixedBytes) throws SealedException {
    return FixedPart.parse(Arrays.copyOfRange(fixedBytes, PREFIX_LENGTH, fixedBytes.length));
  }

  /** Parses a whole header, exactly as long as it says it is. */
  public static SealedHeader parse(byte[] bytes) throws SealedException {
    int length = lengthOf(bytes);
    if (bytes.length < length) throw new SealedException(TRUNCATED, "the header is cut off");
    if (bytes.length > length) throw new SealedException(TRAILING_BYTES, "bytes follow the header");
    byte[] fixedBytes = fixedBytesOf(bytes);
    FixedPart fixed = parseFixed(fixedBytes);
    ByteBuffer in = ByteBuffer.wrap(bytes).position(fixedBytes.length);
    try {
      List<Slot> slots = parseSlots(in);
      byte[] macInput = Arrays.copyOf(bytes, in.position());
      byte[] mac = take(in, MAC_LENGTH);
      while (in.hasRemaining()) {
        if (in.get() != 0) throw new SealedException(HEADER, "the header's padding is not zero");
      }
      return new SealedHeader(fixed, slots, length, fixedBytes, macInput, mac);
    } catch (BufferUnderflowException cause) {
      throw new SealedException(TRUNCATED, "the header is cut off", cause);
    }
  }

  /** Checks the header's MAC. */
  public void verify(Dek dek) throws SealedException {
    if (!MessageDigest.isEqual(mac(dek, macInput), mac)) {
      throw new SealedException(HEADER_MAC, "altered header or wrong DEK");
    }
  }

  /** SHA-256 of the fixed part, in hexadecimal digits. */
  public static String digestOf(byte[] fixedBytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(fixedBytes));
    } catch (GeneralSecurityException cause) {
      throw new IllegalStateException(cause);
    }
  }

  private static byte[] mac(Dek dek, byte[] input) {
    try {
      byte[] key = Hkdf.computeHkdf("HmacSha256", dek.bytes(), new byte[0], MAC_INFO, MAC_LENGTH);
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      return mac.doFinal(input);
    } catch (GeneralSecurityException cause) {
      throw new IllegalStateException(cause);
    }
  }

  private static byte[] encodeSlots(List<Slot> slots) throws SealedException {
    assertSlotCount(slots.size());
    ByteBuffer out = ByteBuffer.allocate(MAX_SLOTS * (5 * 1024)).putShort((short) slots.size());
    for (Slot slot : slots) {
      assertSlot(slot);
      for (String name : List.of(slot.kmsId(), slot.cmkId())) {
        out.putShort((short) name.length()).put(name.getBytes(StandardCharsets.US_ASCII));
      }
      out.putInt((int) slot.cmkVersion());
      out.putShort((short) slot.wrappedDek().length).put(slot.wrappedDek());
    }
    return Arrays.copyOf(out.array(), out.position());
  }

  private static List<Slot> parseSlots(ByteBuffer in) throws SealedException {
    int count = Short.toUnsignedInt(in.getShort());
    assertSlotCount(count);
    List<Slot> slots = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      String kmsId = new String(takeCounted(in), StandardCharsets.ISO_8859_1);
      String cmkId = new String(takeCounted(in), StandardCharsets.ISO_8859_1);
      long cmkVersion = Integer.toUnsignedLong(in.getInt());
      Slot slot = new Slot(kmsId, cmkId, cmkVersion, takeCounted(in));
      assertSlot(slot);
      slots.add(slot);
    }
    return List.copyOf(slots);
  }

  private static void assertSlotCount(int count) throws SealedException {
    if (count == 0) throw new SealedException(NO_SLOT, "a sealed file has at least one slot");
    if (count > MAX_SLOTS) {
      throw new SealedException(LIMIT, "slots: wanted at most " + MAX_SLOTS + ", seen " + count);
    }
  }

  private static void assertSlot(Slot slot) throws SealedException {
    if (!NAME.matcher(slot.kmsId()).matches() || !NAME.matcher(slot.cmkId()).matches()) {
      throw new SealedException(HEADER, "a KMS or CMK id is 1 to 255 visible ASCII characters");
    }
    if (slot.cmkVersion() < 0 || slot.cmkVersion() > FixedPart.MAX_PART) {
      throw new SealedException(HEADER, "a CMK version is a 32-bit unsigned integer");
    }
    int length = slot.wrappedDek().length;
    if (length < 1 || length > MAX_WRAPPED_DEK) {
      throw new SealedException(
          LIMIT, "wrapped DEK: wanted 1 to " + MAX_WRAPPED_DEK + " bytes, seen " + length);
    }
  }

  private static byte[] takeCounted(ByteBuffer in) {
    return take(in, Short.toUnsignedInt(in.getShort()));
  }

  private static byte[] take(ByteBuffer in, int length) {
    byte[] taken = new byte[length];
    in.get(taken);
    return taken;
  }
}
