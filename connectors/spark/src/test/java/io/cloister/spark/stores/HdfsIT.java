package io.cloister.spark.stores;

import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;

/** HDFS itself: a name node and a data node in this JVM. */
class HdfsIT extends StoreTest {
  @TempDir private static Path disks;
  private static MiniDFSCluster cluster;

  @BeforeAll
  static void serve() throws Exception {
    Configuration settings = new Configuration();
    settings.set(MiniDFSCluster.HDFS_MINIDFS_BASEDIR, disks.toString());
    cluster = new MiniDFSCluster.Builder(settings).numDataNodes(1).build();
    cluster.waitActive();
  }

  @AfterAll
  static void stopCluster() {
    cluster.shutdown(true);
  }

  @Override
  void configure(Configuration hadoop) {
    hadoop.set("dfs.replication", "1");
  }

  @Override
  String uri() {
    return "hdfs://127.0.0.1:" + cluster.getNameNodePort();
  }
}
