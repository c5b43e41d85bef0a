import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.api.ServerValidationModeEnum;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** usage: Client BASE-URL   runs every scenario with HAPI's generic client; a line "name TAB ok|failed TAB message" each, exit 1 on a failed one */
public class Client {
	interface Scenario {
		void run(Corner corner) throws Exception;
	}

	public static void main(String[] a) {
		FhirContext context = FhirContext.forR4();
		context.getRestfulClientFactory().setServerValidationMode(ServerValidationModeEnum.ONCE);
		context.getRestfulClientFactory().setSocketTimeout(60_000);
		Map<String, Scenario> scenarios = new LinkedHashMap<>();
		Basics.add(scenarios);
		Searches.add(scenarios);
		Bundles.add(scenarios);
		Changes.add(scenarios);
		PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
		int failed = 0;
		for (Map.Entry<String, Scenario> one : scenarios.entrySet()) {
			String said = "";
			try {
				one.getValue().run(new Corner(context, a[0]));
			} catch (Throwable thrown) {
				failed++;
				said = thrown.toString() + " at " + place(thrown);
			}
			out.println(one.getKey() + "\t" + (said.isEmpty() ? "ok" : "failed") + "\t" + said.replaceAll("\\s+", " "));
		}
		System.exit(failed == 0 ? 0 : 1);
	}

	private static String place(Throwable thrown) {
		for (StackTraceElement one : thrown.getStackTrace()) {
			if (one.getFileName() != null && one.getFileName().matches("(Basics|Searches|Bundles|Changes)\\.java")) {
				return one.getFileName() + ":" + one.getLineNumber();
			}
		}
		return "?";
	}

	static void same(Object expected, Object given) {
		if (!String.valueOf(expected).equals(String.valueOf(given))) {
			throw new AssertionError("expected " + expected + ", got " + given);
		}
	}

	static void yes(boolean holds, String what) {
		if (!holds) {
			throw new AssertionError(what);
		}
	}

	interface Call {
		Object run();
	}

	/** What is thrown, which must be of this class. */
	static <T extends Throwable> T refused(Class<T> kind, Call call) {
		try {
			call.run();
		} catch (Throwable thrown) {
			if (kind.isInstance(thrown)) {
				return kind.cast(thrown);
			}
			throw new AssertionError("expected " + kind.getSimpleName() + ", got " + thrown);
		}
		throw new AssertionError("expected " + kind.getSimpleName() + ", and nothing was refused");
	}
}
