import ca.uhn.fhir.context.FhirContext;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.hl7.fhir.common.hapi.validation.validator.FhirDefaultPolicyAdvisor;
import org.hl7.fhir.r5.elementmodel.Element;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.model.CanonicalResource;
import org.hl7.fhir.r5.model.CanonicalType;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.validation.instance.InstanceValidator;

/**
 * No address is wrong because it can't be reached, and Type/id is a resource of that type with nothing else in it, so that
 * the validator judges which types a reference may point to (with HAPI's defaults it does not).
 */
class Offline implements IValidatorResourceFetcher {
	private static final Pattern REST = Pattern.compile("(?:https?://[^\\s#?]+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?");
	private final FhirContext types;

	Offline(FhirContext types) {
		this.types = types;
	}

	@Override
	public Element fetch(IResourceValidator validator, Object context, String url) throws IOException {
		Matcher parts = REST.matcher(url);
		if (!parts.matches() || !types.getResourceTypes().contains(parts.group(1))) return null;
		String text = "{\"resourceType\":\"" + parts.group(1) + "\",\"id\":\"" + parts.group(2) + "\"}";
		var json = new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
		return Manager.parseSingle(((InstanceValidator) validator).getContext(), json, Manager.FhirFormat.JSON);
	}

	@Override
	public boolean resolveURL(
		IResourceValidator validator, Object context, String path, String url, String type, boolean canonical, List<CanonicalType> targets) {
		return true;
	}

	@Override
	public byte[] fetchRaw(IResourceValidator validator, String url) {
		return null;
	}

	@Override
	public IValidatorResourceFetcher setLocale(Locale locale) {
		return this;
	}

	@Override
	public CanonicalResource fetchCanonicalResource(IResourceValidator validator, Object context, String url) {
		return null;
	}

	@Override
	public boolean fetchesCanonicalResource(IResourceValidator validator, String url) {
		return false;
	}

	@Override
	public Set<ResourceVersionInformation> fetchCanonicalResourceVersions(IResourceValidator validator, Object context, String url) {
		return Set.of();
	}

	static class Policy extends FhirDefaultPolicyAdvisor {
		@Override
		public ReferenceValidationPolicy policyForReference(
			IResourceValidator validator, Object context, String path, String url, ReferenceDestinationType kind) {
			return ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS;
		}
	}
}
