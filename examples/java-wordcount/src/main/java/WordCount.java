import java.io.IOException;
import java.io.Writer;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVPrinter;

/** WordCount LETTERS FOLDER: how often each word stands in a folder of letters, as words.csv. */
public final class WordCount {
  private static final Pattern WORD = Pattern.compile("\\p{L}+");

  public static void main(String[] arguments) throws IOException {
    Map<String, Integer> counts = new HashMap<>();
    int letters = 0;
    try (DirectoryStream<Path> files = Files.newDirectoryStream(Path.of(arguments[0]))) {
      for (Path file : files) {
        count(Files.readString(file), counts);
        letters++;
      }
    }
    write(counts, Path.of(arguments[1], "words.csv"));
    System.out.println(letters + " letters");
  }

  private static void count(String text, Map<String, Integer> counts) {
    Matcher words = WORD.matcher(text.toLowerCase(Locale.ROOT));
    while (words.find()) {
      counts.merge(words.group(), 1, Integer::sum);
    }
  }

  private static void write(Map<String, Integer> counts, Path path) throws IOException {
    List<Map.Entry<String, Integer>> sorted =
        counts.entrySet().stream()
            .sorted(
                Map.Entry.<String, Integer>comparingByValue(Comparator.reverseOrder())
                    .thenComparing(Map.Entry.comparingByKey()))
            .toList();
    CSVFormat format = CSVFormat.DEFAULT.builder().setHeader("word", "count").build();
    try (Writer writer = Files.newBufferedWriter(path);
        CSVPrinter printer = new CSVPrinter(writer, format)) {
      for (Map.Entry<String, Integer> entry : sorted) {
        printer.printRecord(entry.getKey(), entry.getValue());
      }
    }
  }
}
