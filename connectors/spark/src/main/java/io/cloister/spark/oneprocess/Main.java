package io.cloister.spark.oneprocess;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.util.StringUtils;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Spark where an instance is one process: runs a script of SQL, or a program's main class, in this
 * JVM. {@code Main SCRIPT.sql} or {@code Main CLASS ARGUMENT...}
 *
 * <p>What has to be set for that is set here, whatever else is: a program does not have to know.
 */
public final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Throwable {
    if (arguments.length == 0) {
      throw new IllegalArgumentException("wanted a script (.sql), or a class and its arguments");
    }
    settings(System.getProperty("spark.master", "local[*]")).forEach(System::setProperty);
    if (arguments[0].endsWith(".sql")) runScript(Path.of(arguments[0]));
    else runClass(arguments[0], Arrays.copyOfRange(arguments, 1, arguments.length));
  }

  /**
   * What Spark is set to.
   *
   * @throws IllegalArgumentException where executors are wanted, which would be other processes
   */
  static Map<String, String> settings(String master) {
    if (!master.matches("local|local\\[[^\\]]+]")) {
      throw new IllegalArgumentException("spark.master: wanted local or local[…], seen " + master);
    }
    Map<String, String> settings = new LinkedHashMap<>();
    settings.put("spark.master", master);
    settings.put("spark.ui.enabled", "false");
    settings.put("spark.hadoop.fs.file.impl", LocalFiles.class.getName());
    // Even alone, Spark listens at two ports, and who can connect to them is not for this process to
    // say. It answers nobody who does not know a secret, which it makes itself and tells nobody.
    settings.put("spark.driver.bindAddress", "127.0.0.1");
    settings.put("spark.driver.host", "127.0.0.1");
    settings.put("spark.authenticate", "true");
    settings.put("spark.network.crypto.enabled", "true");
    settings.put("spark.network.crypto.saslFallback", "false");
    // A program has the last word on its session: what it took back of this is looked for.
    settings.put("spark.plugins", SettingsPlugin.class.getName());
    // Otherwise it loads classes by way of the first of them, from itself.
    settings.put("spark.sql.artifact.isolation.enabled", "false");
    return settings;
  }

  private static void runScript(Path script) throws IOException {
    String text = Files.readString(script);
    try (SparkSession spark =
        SparkSession.builder().appName(script.getFileName().toString()).getOrCreate()) {
      for (String statement :
          CollectionConverters.asJava(StringUtils.splitSemiColonWithIndex(text, false))) {
        // Commands run when they are given; of what a query finds nothing is shown.
        if (!statement.isBlank()) spark.sql(statement);
      }
    }
  }

  private static void runClass(String name, String[] arguments) throws Throwable {
    try {
      Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
    } catch (InvocationTargetException failure) {
      throw failure.getCause();
    }
  }
}
