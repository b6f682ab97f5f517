package io.cloister.spark.fs;

import io.cloister.spark.sealed.SealedException;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;

/** A dataset's files by their paths, with the folders that the paths make. */
final class PartTree<F> {
  private final Map<String, F> files = new TreeMap<>();
  private final Map<String, TreeSet<String>> folders = new HashMap<>();

  PartTree(List<F> parts, Function<F, String> pathOf) throws SealedException {
    for (F part : parts) {
      String path = pathOf.apply(part);
      if (files.put(path, part) != null) throw twice(path);
      for (String below = path; !below.isEmpty(); below = parentOf(below)) {
        folders.computeIfAbsent(parentOf(below), folder -> new TreeSet<>()).add(below);
      }
    }
    for (String path : files.keySet()) if (folders.containsKey(path)) throw twice(path);
  }

  private static SealedException twice(String path) {
    return new SealedException(
        SealedException.Code.PATH,
        "wanted each path once and none as another's folder, seen " + path);
  }

  static String parentOf(String path) {
    return path.substring(0, Math.max(0, path.lastIndexOf('/')));
  }

  Optional<F> file(String path) {
    return Optional.ofNullable(files.get(path));
  }

  boolean isFolder(String path) {
    return folders.containsKey(path);
  }

  /** Paths of what is right in a folder. */
  Collection<String> childrenOf(String folder) {
    return folders.getOrDefault(folder, new TreeSet<>());
  }
}
