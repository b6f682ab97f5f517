package io.cloister.spark.oneprocess;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;

/**
 * Ends a program whose session is not set as {@link Main} sets it: what programs set themselves comes
 * before Java's properties, and older ones bring such settings with them.
 */
public final class SettingsPlugin implements SparkPlugin {
  /** A secret that an image bears is one that its host knows. */
  private static final List<String> UNSET =
      List.of(
          "spark.authenticate.secret", "spark.authenticate.secret.file",
          "spark.authenticate.secret.driver.file");

  @Override
  public DriverPlugin driverPlugin() {
    return new DriverPlugin() {
      @Override
      public Map<String, String> init(SparkContext context, PluginContext plugin) {
        require(context.conf());
        return Map.of();
      }
    };
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return null;
  }

  static void require(SparkConf conf) {
    List<String> faults = new ArrayList<>();
    Main.settings(conf.get("spark.master"))
        .forEach(
            (name, wanted) -> {
              String seen = conf.get(name, "unset");
              if (isAsWanted(name, wanted, seen)) return;
              faults.add(name + ": wanted " + wanted + ", seen " + seen);
            });
    for (String name : UNSET) {
      if (conf.contains(name)) faults.add(name + ": wanted unset, seen a value");
    }
    if (faults.isEmpty()) return;
    throw new IllegalStateException(
        "Cloister refuses these settings (leave them to " + Main.class.getName() + "): "
            + String.join("; ", faults));
  }

  private static boolean isAsWanted(String name, String wanted, String seen) {
    // Others may stand beside this one.
    if (name.equals("spark.plugins")) return List.of(seen.split(",")).contains(wanted);
    return seen.equals(wanted);
  }
}
