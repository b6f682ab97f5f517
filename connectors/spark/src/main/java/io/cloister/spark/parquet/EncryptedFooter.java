package io.cloister.spark.parquet;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.crypto.ParquetCipher;
import org.apache.parquet.format.EncryptionAlgorithm;
import org.apache.parquet.format.FileCryptoMetaData;
import org.apache.parquet.format.FileMetaData;
import org.apache.parquet.format.Util;

/**
 * How a Parquet file says that it is encrypted.
 *
 * @param aadPrefix as the file has it; empty where it has none
 * @param isAadPrefixLeftOut whether there is one that the file does not have
 */
record EncryptedFooter(
    ParquetCipher cipher, boolean isPlaintext, Optional<byte[]> aadPrefix,
    boolean isAadPrefixLeftOut, byte[] keyMetadata) {
  private static final int MAGIC_LENGTH = 4;
  private static final int TAIL_LENGTH = 8;

  /** Reads the end of a file; nothing of it is authentic before its footer's tag was verified. */
  static EncryptedFooter read(Path path, Configuration conf) throws IOException {
    FileSystem fs = path.getFileSystem(conf);
    long length = fs.getFileStatus(path).getLen();
    if (length < MAGIC_LENGTH + TAIL_LENGTH) throw noParquet(path);
    try (FSDataInputStream in = fs.open(path)) {
      byte[] tail = new byte[TAIL_LENGTH];
      in.readFully(length - TAIL_LENGTH, tail);
      int footerLength = ByteBuffer.wrap(tail).order(ByteOrder.LITTLE_ENDIAN).getInt();
      // A file without a row has nothing between its magic and its footer.
      if (footerLength < 0 || footerLength > length - MAGIC_LENGTH - TAIL_LENGTH) {
        throw noParquet(path);
      }
      in.seek(length - TAIL_LENGTH - footerLength);
      String magic = new String(tail, 4, 4, StandardCharsets.US_ASCII);
      if (magic.equals("PARE")) {
        FileCryptoMetaData crypto = Util.readFileCryptoMetaData(in);
        return of(crypto.getEncryption_algorithm(), false, crypto.getKey_metadata());
      }
      if (!magic.equals("PAR1")) throw noParquet(path);
      FileMetaData metadata = Util.readFileMetaData(in, true);
      if (!metadata.isSetEncryption_algorithm()) {
        throw new IOException(path + ": wanted a Parquet file that is encrypted, seen one that is not");
      }
      return of(
          metadata.getEncryption_algorithm(), true, metadata.getFooter_signing_key_metadata());
    }
  }

  private static EncryptedFooter of(
      EncryptionAlgorithm algorithm, boolean isPlaintext, byte[] keyMetadata) {
    if (algorithm.isSetAES_GCM_V1()) {
      var gcm = algorithm.getAES_GCM_V1();
      return new EncryptedFooter(
          ParquetCipher.AES_GCM_V1, isPlaintext, Optional.ofNullable(gcm.getAad_prefix()),
          gcm.isSupply_aad_prefix(), keyMetadata);
    }
    var ctr = algorithm.getAES_GCM_CTR_V1();
    return new EncryptedFooter(
        ParquetCipher.AES_GCM_CTR_V1, isPlaintext, Optional.ofNullable(ctr.getAad_prefix()),
        ctr.isSupply_aad_prefix(), keyMetadata);
  }

  private static IOException noParquet(Path path) {
    return new IOException(path + ": wanted a Parquet file, seen something else");
  }
}
