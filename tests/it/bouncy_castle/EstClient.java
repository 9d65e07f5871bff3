import java.io.FileInputStream;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import javax.security.auth.x500.X500Principal;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/**
 * A device with Bouncy Castle's EST client. Says one line per operation.
 *
 * Arguments: server (host:port), label, TLS version, key (RSA, P-256, P-384), trust anchor (PEM), bootstrap
 * identity (PKCS#12, password "boot"). Under the label "manual" it only enrolls, and asks again once a line
 * has come on standard input.
 */
public final class EstClient {
    private static final char[] PASSWORD = "boot".toCharArray();

    private final String server;
    private final String label;
    private final String tls;
    private final X509TrustManager trust;

    private EstClient(String server, String label, String tls, String anchor) throws Exception {
        this.server = server;
        this.label = label;
        this.tls = tls;
        KeyStore anchors = KeyStore.getInstance(KeyStore.getDefaultType());
        anchors.load(null, null);
        try (FileInputStream in = new FileInputStream(anchor)) {
            anchors.setCertificateEntry("anchor", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(anchors);
        this.trust = (X509TrustManager) factory.getTrustManagers()[0];
    }

    public static void main(String[] arguments) throws Exception {
        EstClient client = new EstClient(arguments[0], arguments[1], arguments[2], arguments[4]);
        KeyStore bootstrap = KeyStore.getInstance("PKCS12");
        try (FileInputStream in = new FileInputStream(arguments[5])) {
            bootstrap.load(in, PASSWORD);
        }
        if (arguments[1].equals("manual")) {
            client.enrollWithApproval(bootstrap, arguments[3]);
        } else {
            client.allOperations(bootstrap, arguments[3]);
        }
    }

    private void allOperations(KeyStore bootstrap, String kind) throws Exception {
        ESTService anonymous = service(null);
        System.out.println("cacerts " + certificates(anonymous.getCACerts().getCertificateStore()).length);
        System.out.println("csrattrs " + anonymous.getCSRAttributes().getAttributesResponse().getRequirements());
        String name = "bc-" + kind + "-" + tls;
        KeyPair pair = generate(kind);
        ESTService booting = service(bootstrap);
        X509Certificate first = issued(booting.simpleEnroll(false, request(name, pair), null), pair);
        System.out.println("enrolled " + first.getSubjectX500Principal().getName());
        KeyStore own = identity(pair.getPrivate(), first);
        X509Certificate second = issued(service(own).simpleEnroll(true, request(name, pair), null), pair);
        System.out.println("renewed " + !second.getSerialNumber().equals(first.getSerialNumber()));
        EnrollmentResponse made =
            booting.simpleEnrollWithServersideCreation(request(name + "-made", pair), null);
        X509CertificateHolder certificate = certificates(made.getStore())[0];
        boolean another = !certificate.getSubjectPublicKeyInfo().equals(
            org.bouncycastle.asn1.x509.SubjectPublicKeyInfo.getInstance(pair.getPublic().getEncoded()));
        System.out.println("made " + made.getPrivateKeyInfo().getPrivateKeyAlgorithm().getAlgorithm() + " " + another);
    }

    private void enrollWithApproval(KeyStore bootstrap, String kind) throws Exception {
        KeyPair pair = generate(kind);
        ESTService service = service(bootstrap);
        EnrollmentResponse response = service.simpleEnroll(false, request("bc-manual", pair), null);
        System.out.println("pending " + !response.isCompleted());
        System.in.read();
        // What Retry-After said.
        while (!response.canRetry()) {
            Thread.sleep(100);
        }
        System.out.println("enrolled " + issued(service.simpleEnroll(response), pair).getSubjectX500Principal().getName());
    }

    private ESTService service(KeyStore identity) throws Exception {
        JsseESTServiceBuilder builder = new JsseESTServiceBuilder(server, trust);
        builder.withTLSVersion(tls).withTimeout(20_000).withLabel(label);
        if (identity != null) {
            KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            factory.init(identity, PASSWORD);
            KeyManager[] managers = factory.getKeyManagers();
            builder.withKeyManagers(managers);
        }
        return builder.build();
    }

    private static KeyPair generate(String kind) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance(kind.equals("RSA") ? "RSA" : "EC");
        if (kind.equals("RSA")) {
            generator.initialize(2048);
        } else {
            generator.initialize(new ECGenParameterSpec("secp" + kind.substring(2) + "r1"));
        }
        return generator.generateKeyPair();
    }

    private static PKCS10CertificationRequest request(String name, KeyPair pair) throws Exception {
        String algorithm = pair.getPublic().getAlgorithm().equals("RSA") ? "SHA256withRSA" : "SHA384withECDSA";
        return new JcaPKCS10CertificationRequestBuilder(new X500Principal("CN=" + name), pair.getPublic())
            .build(new JcaContentSignerBuilder(algorithm).build(pair.getPrivate()));
    }

    private static X509Certificate issued(EnrollmentResponse response, KeyPair pair) throws Exception {
        X509CertificateHolder[] certificates = certificates(response.getStore());
        if (certificates.length != 1) {
            throw new IllegalStateException(certificates.length + " certificates");
        }
        X509Certificate certificate = new JcaX509CertificateConverter().getCertificate(certificates[0]);
        if (!certificate.getPublicKey().equals(pair.getPublic())) {
            throw new IllegalStateException("another key");
        }
        return certificate;
    }

    private static X509CertificateHolder[] certificates(
        org.bouncycastle.util.Store<X509CertificateHolder> store) {
        return ESTService.storeToArray(store);
    }

    private static KeyStore identity(PrivateKey key, X509Certificate certificate) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        store.setKeyEntry("own", key, PASSWORD, new X509Certificate[] {certificate});
        return store;
    }
}
