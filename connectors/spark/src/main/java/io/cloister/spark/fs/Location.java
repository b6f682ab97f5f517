package io.cloister.spark.fs;

import java.net.URI;
import java.util.Optional;
import org.apache.hadoop.fs.Path;

/**
 * A place in a storage, without the {@code sealed+} in front of its scheme.
 *
 * @param path without a slash at its end
 */
public record Location(String scheme, String authority, String path) {
  static final String PREFIX = "sealed+";

  /** The folder that a job names: an absolute path, or a URI. */
  static Location ofFolder(String folder) {
    URI uri = new Path(folder).toUri();
    return of(uri.getScheme() == null ? "file" : uri.getScheme(), uri);
  }

  /** Where a qualified path with {@code sealed+} leads; empty for any other path. */
  public static Optional<Location> ofSealed(Path path) {
    URI uri = path.toUri();
    if (uri.getScheme() == null || !uri.getScheme().startsWith(PREFIX)) return Optional.empty();
    return Optional.of(of(uri.getScheme().substring(PREFIX.length()), uri));
  }

  /** Where a path, or a URI, leads as it is, {@code ..} and the like taken out. */
  static Location ofPlain(Path path) {
    URI uri = path.toUri().normalize();
    return of(uri.getScheme() == null ? "file" : uri.getScheme(), uri);
  }

  private static Location of(String scheme, URI uri) {
    String path = uri.getPath().equals("/") ? "" : uri.getPath();
    return new Location(scheme, uri.getAuthority() == null ? "" : uri.getAuthority(), path);
  }

  /** The way from this folder to a place in it, empty for the folder itself. */
  Optional<String> relative(Location other) {
    if (!scheme.equals(other.scheme) || !authority.equals(other.authority)) return Optional.empty();
    if (other.path.equals(path)) return Optional.of("");
    if (!other.path.startsWith(path + "/")) return Optional.empty();
    return Optional.of(other.path.substring(path.length() + 1));
  }

  /** A path in this folder, as the storage below names it. */
  Path inner(String relative) {
    return new Path(scheme, authority, join(relative));
  }

  /** A path in this folder, as Spark names it. */
  public Path sealed(String relative) {
    return new Path(PREFIX + scheme, authority, join(relative));
  }

  private String join(String relative) {
    return relative.isEmpty() && !path.isEmpty() ? path : path + "/" + relative;
  }
}
