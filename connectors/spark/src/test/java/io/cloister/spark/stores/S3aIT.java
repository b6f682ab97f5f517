package io.cloister.spark.stores;

import static org.junit.jupiter.api.Assertions.assertThrows;

import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.gaul.s3proxy.AuthenticationType;
import org.gaul.s3proxy.S3Proxy;
import org.jclouds.ContextBuilder;
import org.jclouds.blobstore.BlobStoreContext;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Amazon S3 as S3Proxy serves it, which checks each request's signature. */
class S3aIT extends StoreTest {
  private static final String BUCKET = "sealed-parts";
  private static final String ACCESS = "access-key";
  private static final String SECRET = "not-a-secret-of-anybody";

  @TempDir private static Path objects;
  private static BlobStoreContext context;
  private static S3Proxy server;

  @BeforeAll
  static void serve() throws Exception {
    Properties settings = new Properties();
    settings.setProperty("jclouds.filesystem.basedir", objects.toString());
    context =
        ContextBuilder.newBuilder("filesystem").credentials("identity", "credential")
            .overrides(settings).build(BlobStoreContext.class);
    server =
        S3Proxy.builder()
            .blobStore(context.getBlobStore())
            .endpoint(URI.create("http://127.0.0.1:0"))
            .awsAuthentication(AuthenticationType.AWS_V4, ACCESS, SECRET)
            .build();
    server.start();
    Files.createDirectory(objects.resolve(BUCKET));
  }

  @AfterAll
  static void stopServer() throws Exception {
    server.stop();
    context.close();
  }

  @Override
  void configure(Configuration hadoop) {
    configure(hadoop, SECRET);
  }

  private static void configure(Configuration hadoop, String secret) {
    hadoop.set("fs.s3a.endpoint", "http://127.0.0.1:" + server.getPort());
    hadoop.set("fs.s3a.endpoint.region", "us-east-1");
    hadoop.set("fs.s3a.path.style.access", "true");
    hadoop.set("fs.s3a.access.key", ACCESS);
    hadoop.set("fs.s3a.secret.key", secret);
    hadoop.set(
        "fs.s3a.aws.credentials.provider",
        "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider");
    hadoop.set("fs.s3a.connection.ssl.enabled", "false");
    hadoop.set("fs.s3a.attempts.maximum", "2");
    hadoop.set("fs.s3a.retry.limit", "2");
  }

  @Override
  String uri() {
    return "s3a://" + BUCKET;
  }

  /** So what passes the other tests was signed, and checked. */
  @Test
  void isAServerThatRefusesAnotherSecret() throws Exception {
    Configuration other = new Configuration(spark.sparkContext().hadoopConfiguration());
    configure(other, "another");
    FileSystem stranger = FileSystem.newInstance(URI.create(uri()), other);
    try (stranger) {
      assertThrows(
          Exception.class,
          () -> stranger.create(new org.apache.hadoop.fs.Path("/stranger"), true).close());
    }
  }
}
