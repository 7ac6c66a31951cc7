// Reads an ISMRMRD file with the C and C++ library and prints what it finds, bytes as hexadecimal text.
//
// reader FILE GROUP IMAGES...
//
//   xml TEXT
//   protocol NAME
//   image NAME NUMBER HEADER ATTRIBUTES PIXELS
//   meta NAME VALUE...                            (of the image before it)

#include <ismrmrd/dataset.h>
#include <ismrmrd/meta.h>
#include <ismrmrd/xml.h>

#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>

namespace {

std::string hex(const void *data, size_t size) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < size; ++i) {
        const unsigned char byte = static_cast<const unsigned char *>(data)[i];
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text.empty() ? "-" : text;
}

std::string hex(const std::string &text) { return hex(text.data(), text.size()); }

// Libraries from 1.14.3 on throw for an attribute without a value; older ones leave it out of the container.
void check_values(const std::string &text, const ISMRMRD::MetaContainer &meta) {
    size_t stated = 0, read = 0;
    for (size_t at = text.find("<meta>"); at != std::string::npos; at = text.find("<meta>", at + 1)) ++stated;
    for (auto entry = meta.begin(); entry != meta.end(); ++entry) ++read;
    if (stated != read) throw std::runtime_error("Malformed metadata value");
}

template <class T> void show(ISMRMRD::Dataset &dataset, const std::string &name, uint32_t number) {
    ISMRMRD::Image<T> image;
    dataset.readImage(name, number, image);
    std::string attributes;
    image.getAttributeString(attributes);
    static_assert(sizeof(ISMRMRD::ISMRMRD_ImageHeader) == 198, "packed as on the wire");
    std::cout << "image " << name << ' ' << number << ' ' << hex(&image.getHead(), 198) << ' ' << hex(attributes)
              << ' ' << hex(image.getDataPtr(), image.getDataSize()) << '\n';
    if (attributes.empty()) return;
    ISMRMRD::MetaContainer meta;
    ISMRMRD::deserialize(attributes.c_str(), meta);
    check_values(attributes, meta);
    for (auto entry = meta.begin(); entry != meta.end(); ++entry) {
        std::cout << "meta " << hex(entry->first);
        for (const auto &value : entry->second) std::cout << ' ' << hex(value.as_str());
        std::cout << '\n';
    }
}

uint16_t data_type(const char *file, const char *group, const char *name) {
    ISMRMRD::ISMRMRD_Dataset dataset;
    ISMRMRD::ISMRMRD_Image image;
    if (ismrmrd_init_dataset(&dataset, file, group) || ismrmrd_open_dataset(&dataset, false) ||
        ismrmrd_init_image(&image) || ismrmrd_read_image(&dataset, name, 0, &image))
        throw std::runtime_error(std::string("the C library does not read ") + name);
    const uint16_t type = image.head.data_type;
    ismrmrd_cleanup_image(&image);
    ismrmrd_close_dataset(&dataset);
    return type;
}

}  // namespace

int main(int count, char **arguments) try {
    const char *file = arguments[1], *group = arguments[2];
    for (int i = 3; i < count; ++i) {
        const std::string name = arguments[i];
        const uint16_t type = data_type(file, group, arguments[i]);
        ISMRMRD::Dataset dataset(file, group, false);
        for (uint32_t number = 0; number < dataset.getNumberOfImages(name); ++number) switch (type) {
            case ISMRMRD::ISMRMRD_USHORT: show<uint16_t>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_SHORT: show<int16_t>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_UINT: show<uint32_t>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_INT: show<int32_t>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_FLOAT: show<float>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_DOUBLE: show<double>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_CXFLOAT: show<complex_float_t>(dataset, name, number); break;
            case ISMRMRD::ISMRMRD_CXDOUBLE: show<complex_double_t>(dataset, name, number); break;
            default: throw std::runtime_error("no pixel type of MRD");
        }
    }
    ISMRMRD::Dataset dataset(file, group, false);
    std::string xml;
    dataset.readHeader(xml);
    std::cout << "xml " << hex(xml) << '\n';
    ISMRMRD::IsmrmrdHeader header;
    ISMRMRD::deserialize(xml.c_str(), header);
    if (header.measurementInformation && header.measurementInformation->protocolName)
        std::cout << "protocol " << hex(*header.measurementInformation->protocolName) << '\n';
    return 0;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
