package io.cloister.spark.parquet;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.cloister.spark.fs.Location;
import io.cloister.spark.fs.SealedJob;
import io.cloister.spark.fs.TaskRefusal;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.security.AccessControlException;
import org.apache.parquet.crypto.DecryptionKeyRetriever;
import org.apache.parquet.crypto.FileDecryptionProperties;
import org.apache.parquet.crypto.FileEncryptionProperties;
import org.apache.parquet.crypto.KeyAccessDeniedException;
import org.apache.parquet.crypto.ParquetCipher;
import org.apache.parquet.crypto.ParquetCryptoRuntimeException;
import org.apache.parquet.crypto.keytools.KeyToolkit;
import org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory;
import org.apache.parquet.hadoop.api.WriteSupport.WriteContext;

/**
 * Parquet modular encryption of the job's datasets, by Parquet's own properties, under the job's
 * {@link MasterKeyClient master keys}. Stricter than Parquet: a file without encryption is neither
 * written nor read, columns without a key of their own have the footer's, each file has an AAD
 * prefix, and what weakens it takes an option that says so. Set as {@code
 * parquet.crypto.factory.class}.
 */
public final class ModularCryptoFactory extends PropertiesDrivenCryptoFactory {
  /** The AAD prefix that files get, and must have: the dataset's id where it is not set. */
  public static final String AAD_PREFIX = "cloister.parquet.aad.prefix";

  /** Reads files that have no AAD prefix: one may stand for another under the same keys. */
  public static final String ALLOW_NO_AAD_PREFIX = "cloister.parquet.allow.no.aad.prefix";

  /** AES_GCM_CTR_V1: whoever holds a file changes its values unseen. */
  public static final String ALLOW_UNAUTHENTICATED_PAGES =
      "cloister.parquet.allow.unauthenticated.pages";

  /** A footer that is signed and not encrypted: names and types of columns, and counts of rows. */
  public static final String ALLOW_PLAINTEXT_FOOTER = "cloister.parquet.allow.plaintext.footer";

  private static final int KEY_BITS = 256;
  private static final JsonMapper JSON = new JsonMapper();

  @Override
  public FileEncryptionProperties getFileEncryptionProperties(
      Configuration conf, Path path, WriteContext context) {
    Configuration ours = ours(conf);
    FileEncryptionProperties made = super.getFileEncryptionProperties(ours, path, context);
    if (made == null) {
      throw new ParquetCryptoRuntimeException(
          path + ": wanted " + FOOTER_KEY_PROPERTY_NAME + " or " + UNIFORM_KEY_PROPERTY_NAME
              + ", seen neither");
    }
    ParquetCipher cipher =
        made.getAlgorithm().isSetAES_GCM_V1()
            ? ParquetCipher.AES_GCM_V1
            : ParquetCipher.AES_GCM_CTR_V1;
    assertAllowed(conf, path, cipher, !made.encryptedFooter());
    var builder =
        FileEncryptionProperties.builder(made.getFooterKey())
            .withFooterKeyMetadata(made.getFooterKeyMetadata())
            .withAlgorithm(cipher)
            .withAADPrefix(aadPrefix(conf, path));
    if (!made.encryptedFooter()) builder.withPlaintextFooter();
    var columns = made.getEncryptedColumns();
    if (columns != null && !columns.isEmpty()) {
      builder.withEncryptedColumns(columns).withCompleteColumnEncryption();
    }
    return builder.build();
  }

  @Override
  public FileDecryptionProperties getFileDecryptionProperties(Configuration conf, Path path) {
    try {
      return decryption(conf, path);
    } catch (ParquetCryptoRuntimeException refusal) {
      // Where Spark is told to skip corrupt files, it skips those with any exception of this kind.
      TaskRefusal.of(new AccessControlException(refusal.getMessage()));
      throw refusal;
    }
  }

  private FileDecryptionProperties decryption(Configuration conf, Path path) {
    assertNothingSkipped(conf);
    datasetId(conf, path);
    EncryptedFooter footer;
    try {
      footer = EncryptedFooter.read(path, conf);
    } catch (IOException cause) {
      throw new ParquetCryptoRuntimeException(cause.getMessage(), cause);
    }
    assertAllowed(conf, path, footer.cipher(), footer.isPlaintext());
    assertFooterKey(conf, path, footer);
    DecryptionKeyRetriever keys =
        super.getFileDecryptionProperties(ours(conf), path).getKeyRetriever();
    var builder = FileDecryptionProperties.builder().withKeyRetriever(keys);
    boolean hasPrefix = footer.aadPrefix().isPresent() || footer.isAadPrefixLeftOut();
    if (!hasPrefix) {
      assertSet(conf, ALLOW_NO_AAD_PREFIX, path, "an AAD prefix, seen none");
      return builder.build();
    }
    byte[] wanted = aadPrefix(conf, path);
    if (!Arrays.equals(footer.aadPrefix().orElse(wanted), wanted)) {
      throw new ParquetCryptoRuntimeException(
          path + ": wanted AAD prefix " + text(wanted) + ", seen "
              + text(footer.aadPrefix().orElseThrow()) + "; set " + AAD_PREFIX
              + " if that is the one");
    }
    return builder.withAADPrefix(wanted).build();
  }

  private static Configuration ours(Configuration conf) {
    Configuration ours = new Configuration(conf);
    ours.setClass(
        KeyToolkit.KMS_CLIENT_CLASS_PROPERTY_NAME, MasterKeyClient.class, MasterKeyClient.class);
    ours.setInt(KeyToolkit.DATA_KEY_LENGTH_PROPERTY_NAME, KEY_BITS);
    ours.setInt(KeyToolkit.KEK_LENGTH_PROPERTY_NAME, KEY_BITS);
    // Files of key material beside the data are not authenticated with it.
    ours.setBoolean(KeyToolkit.KEY_MATERIAL_INTERNAL_PROPERTY_NAME, true);
    String footerKey = conf.getTrimmed(FOOTER_KEY_PROPERTY_NAME, "");
    boolean hasColumnKeys = !conf.getTrimmed(COLUMN_KEYS_PROPERTY_NAME, "").isEmpty();
    if (!footerKey.isEmpty() && !hasColumnKeys) {
      ours.unset(FOOTER_KEY_PROPERTY_NAME);
      ours.set(UNIFORM_KEY_PROPERTY_NAME, footerKey);
    }
    boolean isUniform = !ours.getTrimmed(UNIFORM_KEY_PROPERTY_NAME, "").isEmpty();
    ours.setBoolean(COMPLETE_COLUMN_ENCRYPTION_PROPERTY_NAME, !isUniform);
    return ours;
  }

  // Spark makes the names of a reader's options lower-case.
  private static final String[] SKIPPING = {
    "spark.sql.files.ignoreCorruptFiles", "ignoreCorruptFiles", "ignorecorruptfiles"
  };

  /** Spark would leave out the rows of a file that a key does not open. */
  private static void assertNothingSkipped(Configuration conf) {
    for (String name : SKIPPING) {
      if (conf.getBoolean(name, false)) {
        throw new ParquetCryptoRuntimeException(
            name + ": wanted false with encrypted Parquet, seen true");
      }
    }
  }

  private static void assertAllowed(
      Configuration conf, Path path, ParquetCipher cipher, boolean isPlaintextFooter) {
    if (cipher == ParquetCipher.AES_GCM_CTR_V1) {
      assertSet(conf, ALLOW_UNAUTHENTICATED_PAGES, path, "AES_GCM_V1, seen AES_GCM_CTR_V1");
    }
    if (isPlaintextFooter) {
      assertSet(conf, ALLOW_PLAINTEXT_FOOTER, path, "an encrypted footer, seen one in plaintext");
    }
  }

  private static void assertSet(Configuration conf, String option, Path path, String wanted) {
    if (conf.getBoolean(option, false)) return;
    throw new ParquetCryptoRuntimeException(
        path + ": wanted " + wanted + "; " + option + " allows it");
  }

  /** Where a reader says which key, a file under another of the job's keys is not taken for it. */
  private static void assertFooterKey(Configuration conf, Path path, EncryptedFooter footer) {
    String wanted = conf.getTrimmed(FOOTER_KEY_PROPERTY_NAME);
    if (wanted == null || wanted.isEmpty()) return;
    String seen;
    try {
      JsonNode metadata = JSON.readTree(footer.keyMetadata());
      seen = metadata.path("masterKeyID").asText();
    } catch (IOException | IllegalArgumentException cause) {
      throw new KeyAccessDeniedException(path + ": its footer's key metadata cannot be read", cause);
    }
    if (!seen.equals(wanted)) {
      throw new KeyAccessDeniedException(
          path + ": wanted a footer under master key " + wanted + ", seen " + seen);
    }
  }

  private static byte[] aadPrefix(Configuration conf, Path path) {
    String datasetId = datasetId(conf, path);
    return conf.get(AAD_PREFIX, datasetId).getBytes(StandardCharsets.UTF_8);
  }

  /** Files elsewhere could be others at each look: what their footers say is then not to be held. */
  private static String datasetId(Configuration conf, Path path) {
    try {
      Path qualified = path.getFileSystem(conf).makeQualified(path);
      return Location.ofSealed(qualified)
          .map(SealedJob.current()::datasetId)
          .orElseThrow(() -> new IOException(path + ": wanted a path in a dataset of the job"));
    } catch (IOException cause) {
      throw new ParquetCryptoRuntimeException(cause.getMessage(), cause);
    }
  }

  private static String text(byte[] prefix) {
    return new String(prefix, StandardCharsets.UTF_8);
  }
}
