"""TLS of the node: as server for senders, as client of destinations."""

from __future__ import annotations

import ssl

from inline.data.errors import ConfigurationError
from inline.settings import DicomSettings


def server_context(settings: DicomSettings) -> ssl.SSLContext | None:
    """Return the context for senders, who need a certificate where authorities are set; None without TLS.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if settings.tls_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return _with_files(context, settings)


def client_context(settings: DicomSettings) -> ssl.SSLContext:
    """Return the context for destinations, whose certificates and host names are verified.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    context = (
        ssl.create_default_context() if settings.tls_ca is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    return _with_files(context, settings)


def _with_files(context: ssl.SSLContext, settings: DicomSettings) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if settings.tls_ca is not None:
            context.load_verify_locations(settings.tls_ca)
        if settings.tls_certificate is not None:
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the files dicom.tls_certificate, dicom.tls_key and dicom.tls_ca cannot be used: {error}"
        ) from error
    return context
